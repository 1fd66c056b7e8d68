// What the subcommands of `bench` share.
#pragma once

#include <cstdint>
#include <string>

namespace tessera::bench {

// The machine's measured rates, the roof over every figure below. 0: no such instruction in this build.
struct Roof {
  double f32 = 0, bf16 = 0;  // GFLOP/s of multiply-add, bf16 with f32 sums
  double read = 0,
         copy = 0;  // GB/s of memory far larger than the caches; a copy counts what it reads and writes
};

// Seconds: of this thread's CPU when one thread runs (a busy machine then costs nothing), else of the clock.
double now(int threads);

// Best rate of several repeats of a loop of about a millisecond on `threads` threads, GFLOP/s.
double multiply_peak(bool bf16, int threads, int repeats);
// All of it, in about a quarter of a second.
Roof measure_roof(int threads);

// `bench roof`: the roof for 1..n threads.
int run_roof(int most_threads);

struct OpsOptions {
  std::string filter;  // part of an op's name
  int threads = 1;
  double seconds = 0.3;  // spent on each row
  std::string json;      // path; "" writes none
};
// `bench ops`: the bench rows of every op's cases.
int run_ops(const OpsOptions& options);

}  // namespace tessera::bench
