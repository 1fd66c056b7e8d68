// Multiply and memory rates of this machine: what a perfect program would reach, measured when asked for.
#pragma once

namespace tessera::roof {

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
inline constexpr double kLargestSet = 128 << 20;  // bytes; several times the last cache

}  // namespace tessera::roof
