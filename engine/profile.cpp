// Scopes are recorded as events of the thread that runs them, under one lock; off, one relaxed load.
#include "engine/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>

#include "engine/check.h"

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
  std::map<std::string, profile::Row> rows;
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

int thread_number() {
  static std::atomic<int> next{0};
  thread_local const int mine = next++;
  return mine;
}

}  // namespace

ProfileScope::ProfileScope(const char* name, int64_t bytes, int64_t flops)
    : name_(name), bytes_(bytes), flops_(flops) {
  if (profile::enabled()) start_ = now_ns();
}

ProfileScope::~ProfileScope() {
  if (start_ < 0) return;
  const int64_t ns = now_ns() - start_;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  profile::Row& row = s.rows[name_];
  row.calls += 1;
  row.ns += ns;
  row.bytes += bytes_;
  row.flops += flops_;
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
  std::vector<Row> all;
  for (const auto& [name, row] : s.rows) {
    all.push_back(row);
    all.back().name = name;
  }
  std::stable_sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.ns > b.ns; });
  return all;
}

std::string table() {
  const std::vector<Row> all = rows();
  int64_t total = 0;
  for (const Row& r : all) total += r.ns;
  std::string text = fmt::format("{:<28}{:>9}{:>11}{:>8}{:>9}{:>10}\n", "scope", "calls", "ms", "share",
                                 "GB/s", "GFLOP/s");
  const auto rate = [](int64_t amount, int64_t ns) {
    return amount == 0 || ns == 0
               ? std::string("-")
               : fmt::format("{:.1f}", static_cast<double>(amount) / static_cast<double>(ns));
  };
  for (const Row& r : all) {
    text += fmt::format("{:<28}{:>9}{:>11.3f}{:>7.1f}%{:>9}{:>10}\n", r.name, r.calls,
                        static_cast<double>(r.ns) * 1e-6,
                        100.0 * static_cast<double>(r.ns) / static_cast<double>(std::max<int64_t>(total, 1)),
                        rate(r.bytes, r.ns), rate(r.flops, r.ns));
  }
  return text;
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
