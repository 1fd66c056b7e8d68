// What the subcommands of `bench` share.
#pragma once

#include <cstdint>
#include <string>

namespace tessera::bench {

// Seconds: of this thread's CPU when one thread runs (a busy machine then costs nothing), else of the clock.
double now(int threads);

// Best GFLOP/s over several repeats of a loop of about a millisecond: multiply-add in f32, or of bf16 with
// f32 sums. 0 where this build has no such instruction.
double multiply_peak(bool bf16, int threads, int repeats);

// Best GB/s over several repeats of three passes over a working set of `bytes`: reading it, copying one half
// to the other, and changing it in place; what is read and what is written both count.
struct MemoryRates {
  double read = 0, copy = 0, update = 0;
  double best() const;
};
MemoryRates memory_peak(double bytes, int threads, int repeats);

// `bench roof`: the roof for 1..n threads.
int run_roof(int most_threads);

struct OpsOptions {
  std::string filter;  // part of an op's name
  int threads = 1;
  double seconds = 0.3;  // spent on each row
  std::string json;      // path; "" writes none
  bool smoke = false;    // once each, to see that every row runs
};
// `bench ops`: the bench rows of every op's cases.
int run_ops(const OpsOptions& options);

}  // namespace tessera::bench
