// The pool behind Storage: one arena of huge pages, carved once, and a free list per size class.
#include "engine/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <utility>

#include "engine/check.h"
#include "engine/fault.h"

namespace tessera {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kChunk = 64 << 20;  // what the arena asks of the system at a time, at least
constexpr int64_t kGuard = 64;
constexpr std::byte kGuardByte{0xA5};

thread_local const char* label_of_thread = "other";
std::atomic<bool> guarding{false};

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Sixteen classes per doubling: at most 6 % of a block is unused.
int64_t class_bytes(int64_t bytes) {
  const int64_t n = std::max<int64_t>(round_up(bytes, kAlign), kAlign);
  const int64_t step = std::max<int64_t>(static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n))) / 16,
                                         kAlign);
  return round_up(n, step);
}

int64_t limit_at_start() {
  const char* text = std::getenv("TESSERA_MEMORY_LIMIT");
  if (text != nullptr && *text != 0) return memory::parse_bytes(text, "TESSERA_MEMORY_LIMIT");
  return memory::machine_bytes();
}

std::string in_mb(int64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / (1 << 20)); }

class Pool {
 public:
  std::byte* take(int64_t bytes, const char* label, int64_t* capacity) {
    const int64_t size = class_bytes(bytes);
    const bool refused = fault::at("alloc") == fault::Action::fail;
    const std::lock_guard lock(mutex_);
    if (refused) out_of_memory(size, label, "the limit set for this process");
    auto& list = free_[size];
    std::byte* block = nullptr;
    if (!list.empty()) {
      block = list.back();
      list.pop_back();
    } else {
      block = carve(size, label);
    }
    *capacity = size;
    count(label, size);
    if (recording_) events_.push_back({label, std::max<int64_t>(bytes, 1), block});
    return block;
  }

  void give(std::byte* block, int64_t capacity, const char* label) {
    const std::lock_guard lock(mutex_);
    free_[capacity].push_back(block);
    count(label, -capacity);
    if (recording_) events_.push_back({label, 0, block});
  }

  memory::Usage usage() {
    const std::lock_guard lock(mutex_);
    memory::Usage u = usage_;
    for (const auto& [label, bytes] : labels_) u.now_by_label[label] += bytes;
    for (const auto& [label, bytes] : peak_labels_) u.peak_by_label[label] += bytes;
    return u;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    usage_.peak = usage_.now;
    peak_labels_ = labels_;
  }

  void set_limit(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
  }
  int64_t limit() {
    const std::lock_guard lock(mutex_);
    return limit_;
  }

  // The events so far, which are forgotten; from now on they are written down, or not.
  std::vector<memory::Event> record(bool on) {
    const std::lock_guard lock(mutex_);
    recording_ = on;
    return std::exchange(events_, {});
  }
  std::vector<memory::Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

  void violation(const char* label) {
    const std::lock_guard lock(mutex_);
    violations_.emplace_back(label);
  }
  std::vector<std::string> violations() {
    const std::lock_guard lock(mutex_);
    return violations_;
  }
  void clear_violations() {
    const std::lock_guard lock(mutex_);
    violations_.clear();
  }

 private:
  using Labels = std::vector<std::pair<const char*, int64_t>>;

  void count(const char* label, int64_t bytes) {
    usage_.now += bytes;
    auto it = std::find_if(labels_.begin(), labels_.end(), [&](const auto& l) { return l.first == label; });
    if (it == labels_.end()) it = labels_.insert(labels_.end(), {label, 0});
    it->second += bytes;
    if (usage_.now > usage_.peak) {
      usage_.peak = usage_.now;
      peak_labels_ = labels_;  // a dozen pairs
    }
  }

  std::byte* carve(int64_t size, const char* label) {
    if (size > arena_left_) {
      int64_t chunk = round_up(std::max(size, kChunk), kHugePage);
      if (limit_ > 0) {  // near the limit, no more than is left
        const int64_t left = (limit_ - usage_.reserved) / kHugePage * kHugePage;
        chunk = std::max(round_up(size, kHugePage), std::min(chunk, left));
      }
      if (limit_ > 0 && usage_.reserved + chunk > limit_)
        out_of_memory(size, label, fmt::format("the limit of {}", in_mb(limit_)));
      // One huge page more, so that the chunk can start on a huge-page border.
      void* p = mmap(nullptr, static_cast<size_t>(chunk + kHugePage), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) out_of_memory(size, label, "what the system gives");
      const auto start = round_up(static_cast<int64_t>(reinterpret_cast<uintptr_t>(p)), kHugePage);
      arena_ = reinterpret_cast<std::byte*>(static_cast<uintptr_t>(start));
      madvise(arena_, static_cast<size_t>(chunk), MADV_HUGEPAGE);  // a hint: refusal is harmless
      arena_left_ = chunk;
      usage_.reserved += chunk;
    }
    std::byte* block = arena_;
    arena_ += size;
    arena_left_ -= size;
    return block;
  }

  [[noreturn]] void out_of_memory(int64_t size, const char* label, const std::string& bound) {
    Labels by_size = labels_;
    std::sort(by_size.begin(), by_size.end(),
              [](const auto& a, const auto& b) { return a.second > b.second; });
    std::string holders;
    for (size_t i = 0; i < by_size.size() && i < 5; ++i) {
      holders += fmt::format("{}{} {}", i ? ", " : "", by_size[i].first, in_mb(by_size[i].second));
    }
    fail(
        ErrorKind::memory,
        "out of memory: {} for {} would exceed {}; in use {}, reserved {} (largest: {}). Use a smaller batch "
        "with train.accumulate, or train.recompute=true; TESSERA_MEMORY_LIMIT sets the limit",
        in_mb(size), label, bound, in_mb(usage_.now), in_mb(usage_.reserved), holders);
  }

  std::mutex mutex_;
  std::map<int64_t, std::vector<std::byte*>> free_;
  std::byte* arena_ = nullptr;
  int64_t arena_left_ = 0;
  int64_t limit_ = limit_at_start();
  bool recording_ = false;
  std::vector<memory::Event> events_;
  memory::Usage usage_;
  Labels labels_, peak_labels_;
  std::vector<std::string> violations_;
};

Pool& pool() {
  static Pool*
      p = new Pool;  // never destroyed: tensors in static objects may outlive any order of destruction
  return *p;
}

}  // namespace

Storage::Storage(int64_t bytes, const char* label)
    : bytes_(bytes), guarded_(guarding), label_(label && *label ? label : label_of_thread) {
  TS_CHECK(bytes >= 0, "memory: {} bytes asked for {}", bytes, label_);
  block_ = pool().take(bytes + (guarded_ ? 2 * kGuard : 0), label_, &capacity_);
  data_ = block_ + (guarded_ ? kGuard : 0);
  if (guarded_) {
    std::memset(block_, 0xA5, static_cast<size_t>(kGuard));
    std::memset(data_, 0xff, static_cast<size_t>(bytes_));
    std::memset(data_ + bytes_, 0xA5, static_cast<size_t>(kGuard));
  }
}

Storage::~Storage() {
  if (guarded_) {
    const auto intact = [](std::byte b) { return b == kGuardByte; };
    if (!std::all_of(block_, block_ + kGuard, intact) ||
        !std::all_of(data_ + bytes_, data_ + bytes_ + kGuard, intact)) {
      pool().violation(label_);
    }
  }
  pool().give(block_, capacity_, label_);
}

namespace memory {

Usage usage() { return pool().usage(); }
void reset_peak() { pool().reset_peak(); }
void set_limit(int64_t bytes) { pool().set_limit(bytes); }
int64_t limit() { return pool().limit(); }

int64_t parse_bytes(const std::string& text, const std::string& what) {
  constexpr const char* kUnits = "KMGT";
  double number = 0;
  char unit = 0, rest = 0;
  const int read = std::sscanf(text.c_str(), "%lf%c%c", &number, &unit, &rest);
  const char* at = read == 2 ? std::strchr(kUnits, unit) : nullptr;
  if (read < 1 || read > 2 || (read == 2 && (unit == 0 || at == nullptr)) || !(number >= 0)) {
    fail(ErrorKind::config, "{} is \"{}\"; wanted a number of bytes such as 4096, 512M or 1.5G", what, text);
  }
  const double bytes = std::ldexp(number, at == nullptr ? 0 : 10 * static_cast<int>(at - kUnits + 1));
  if (bytes > 0x1p62) fail(ErrorKind::config, "{} is \"{}\", more than any machine has", what, text);
  return static_cast<int64_t>(bytes);
}

int64_t machine_bytes() {
  const int64_t all = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  int64_t allowed = all;
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    int64_t bytes = 0;
    if (std::ifstream(path) >> bytes && bytes > 0) allowed = std::min(allowed, bytes);  // "max" is no number
  }
  return allowed;
}

int64_t block_bytes(int64_t bytes) { return class_bytes(bytes); }

Recorder::Recorder() { pool().record(true); }
Recorder::~Recorder() { pool().record(false); }
std::vector<Event> Recorder::events() const { return pool().events(); }

GuardScope::GuardScope() {
  TS_CHECK(!guarding.exchange(true), "memory: GuardScope does not nest");
  pool().clear_violations();
}
GuardScope::~GuardScope() { guarding = false; }
std::vector<std::string> GuardScope::violations() const { return pool().violations(); }

LabelScope::LabelScope(const char* label) : outer_(label_of_thread) { label_of_thread = label; }
LabelScope::~LabelScope() { label_of_thread = outer_; }
const char* current_label() { return label_of_thread; }

}  // namespace memory
}  // namespace tessera
