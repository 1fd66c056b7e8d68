// Scopes are recorded as events of the thread that runs them, under one lock; off, one relaxed load.
#include "engine/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "engine/check.h"
#include "engine/roof.h"

namespace tessera {
namespace {

struct Span {
  const char* name;
  int thread;
  int64_t start, ns;
};

struct State {
  std::atomic<bool> on{false};
  std::mutex mutex;
  std::unordered_map<const char*, profile::Row> rows;  // one text may have several addresses
  std::vector<Span> spans;
};
State& state() {
  static State s;
  return s;
}

constexpr size_t kMostSpans = 1 << 20;  // a trace beyond it is unreadable; rows go on counting

int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

thread_local ProfileScope* innermost = nullptr;

int thread_number() {
  static std::atomic<int> next{0};
  thread_local const int mine = next++;
  return mine;
}

// What the machine could do at best, measured once for each size of working set that a row asks for.
class Roof {
 public:
  explicit Roof(int threads) : threads_(threads) {}

  struct Bound {
    double ns = 0;  // least time that the machine needs for a row's work; 0: not known
    bool compute = false;
  };
  Bound bound(const profile::Row& r) {
    if (r.calls <= 0 || r.bytes <= 0) return {};
    const double bf16 = static_cast<double>(r.bf16_flops), f32 = static_cast<double>(r.flops) - bf16;
    const double compute = (f32 > 0 ? f32 / peak(false) : 0) + (bf16 > 0 ? bf16 / peak(true) : 0);
    const double memory = static_cast<double>(r.bytes) / memory_rate(r.bytes / r.calls);
    return {std::max(compute, memory), compute > memory};
  }

 private:
  static constexpr int kRepeats = 5;

  double peak(bool bf16) {  // GFLOP/s, which is FLOPs per ns
    double& known = peaks_[bf16 ? 1 : 0];
    if (known == 0) known = roof::multiply_peak(bf16, threads_, 20 * kRepeats);
    if (known == 0) known = peak(false);  // no instruction of its own
    return known;
  }
  double memory_rate(int64_t bytes) {  // GB/s at the next power of two
    const uint64_t size = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(bytes, 4096)));
    double& known = rates_[size];
    if (known == 0) known = roof::memory_peak(static_cast<double>(size), threads_, kRepeats).best();
    return known;
  }

  int threads_;
  double peaks_[2] = {0, 0};
  std::map<uint64_t, double> rates_;
};

std::string rate(int64_t amount, int64_t ns) {
  if (amount <= 0 || ns <= 0) return "-";
  return fmt::format("{:.1f}", static_cast<double>(amount) / static_cast<double>(ns));
}

}  // namespace

ProfileScope::ProfileScope(const char* name, int64_t bytes, int64_t flops, DType dtype)
    : name_(name), bytes_(bytes), flops_(flops), bf16_(dtype == DType::bf16) {
  if (!profile::enabled()) return;
  outer_ = std::exchange(innermost, this);
  start_ = now_ns();
}

ProfileScope::~ProfileScope() {
  if (start_ < 0) return;
  const int64_t ns = now_ns() - start_;
  innermost = outer_;
  if (outer_ != nullptr) outer_->inner_ += ns;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  profile::Row& row = s.rows[name_];
  row.calls += 1;
  row.ns += ns;
  row.own_ns += ns - inner_;
  row.bytes += bytes_;
  row.flops += flops_;
  if (bf16_) row.bf16_flops += flops_;
  if (s.spans.size() < kMostSpans) s.spans.push_back({name_, thread_number(), start_, ns});
}

namespace profile {

void enable(bool on) { state().on.store(on, std::memory_order_relaxed); }
bool enabled() { return state().on.load(std::memory_order_relaxed); }

void reset() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.rows.clear();
  s.spans.clear();
}

std::vector<Row> rows() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  std::map<std::string, Row> by_name;
  for (const auto& [name, row] : s.rows) {
    Row& sum = by_name[name];
    sum.name = name;
    sum.calls += row.calls;
    sum.ns += row.ns;
    sum.own_ns += row.own_ns;
    sum.bytes += row.bytes;
    sum.flops += row.flops;
    sum.bf16_flops += row.bf16_flops;
  }
  std::vector<Row> all;
  for (auto& [name, row] : by_name) all.push_back(std::move(row));
  std::stable_sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.own_ns > b.own_ns; });
  return all;
}

std::string table(const std::string& step, int threads) {
  const std::vector<Row> all = rows();
  Row sum;
  sum.calls = 1;
  for (const Row& r : all) {
    sum.own_ns += r.own_ns;
    sum.flops += r.flops;
    if (r.name == step) sum.calls = r.calls;
  }
  const double steps = static_cast<double>(sum.calls),
               total = static_cast<double>(std::max<int64_t>(sum.own_ns, 1));
  const auto line = [&](const std::string& name, const Row& r, const std::string& of_roof) {
    return fmt::format("{:<30}{:>8.1f}{:>11.3f}{:>7.1f}%{:>8}{:>9}{:>16}\n", name,
                       static_cast<double>(r.calls) / steps, static_cast<double>(r.own_ns) * 1e-6 / steps,
                       100 * static_cast<double>(r.own_ns) / total, rate(r.bytes, r.own_ns),
                       rate(r.flops, r.own_ns), of_roof);
  };
  std::string text = fmt::format("{:<30}{:>8}{:>11}{:>8}{:>8}{:>9}{:>16}\n", "scope", "calls", "ms", "share",
                                 "GB/s", "GFLOP/s", "of roof");
  Roof roof(threads);
  double least = 0;
  for (const Row& r : all) {
    const Roof::Bound bound = roof.bound(r);
    least += bound.ns;
    const double part = bound.ns / static_cast<double>(std::max<int64_t>(r.own_ns, 1));
    text += line(
        r.name == step ? "(between scopes)" : r.name, r,
        bound.ns > 0 ? fmt::format("{:.0f}% of {}", 100 * part, bound.compute ? "compute" : "memory") : "-");
  }
  return text + line(step.empty() ? "all" : step, sum, fmt::format("{:.0f}%", 100 * least / total));
}

void write_trace(const std::string& path) {
  State& s = state();
  std::ofstream out(path);
  const std::lock_guard lock(s.mutex);
  const int64_t zero = s.spans.empty()
                           ? 0
                           : std::min_element(s.spans.begin(), s.spans.end(),
                                              [](const Span& a, const Span& b) { return a.start < b.start; })
                                 ->start;
  out << "{\"traceEvents\":[";
  for (size_t i = 0; i < s.spans.size(); ++i) {
    const Span& e = s.spans[i];
    out << fmt::format(
        "{}\n{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":0,\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f}}}",
        i ? "," : "", e.name, e.thread, static_cast<double>(e.start - zero) * 1e-3,
        static_cast<double>(e.ns) * 1e-3);
  }
  out << "\n]}\n";
  out.close();
  if (!out)
    fail(ErrorKind::io, "{}: the trace cannot be written; is the folder there and the disk not full?", path);
}

}  // namespace profile
}  // namespace tessera
