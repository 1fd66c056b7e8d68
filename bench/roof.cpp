// `bench roof`: multiply and memory rates of this machine as a table.
#include <fmt/format.h>

#include "bench/bench.h"
#include "engine/parallel.h"
#include "engine/roof.h"

namespace tessera::bench {
namespace {

std::string rate(double r) { return r > 0 ? fmt::format("{:.1f}", r) : std::string("-"); }

}  // namespace

int run_roof(int most_threads) {
  fmt::print("{:>8}{:>14}{:>14}{:>12}{:>12}{:>14}\n", "threads", "f32 GFLOP/s", "bf16 GFLOP/s", "read GB/s",
             "copy GB/s", "update GB/s");
  for (int n = 1; n <= most_threads; ++n) {
    set_threads(n);
    const double f32 = roof::multiply_peak(false, n, 60), bf16 = roof::multiply_peak(true, n, 60);
    const roof::MemoryRates m = roof::memory_peak(roof::kLargestSet, n, 12);
    fmt::print("{:>8}{:>14}{:>14}{:>12}{:>12}{:>14}\n", n, rate(f32), rate(bf16), rate(m.read), rate(m.copy),
               rate(m.update));
  }
  return 0;
}

}  // namespace tessera::bench
