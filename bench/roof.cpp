// Multiply and memory rates of this machine, measured in the run that quotes them.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "bench/bench.h"
#include "engine/copy.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "engine/tensor.h"

namespace tessera::bench {
namespace {

constexpr int kChains = 16;        // independent sums: two units times a latency of four to eight cycles
constexpr int64_t kRounds = 4096;  // of one task
constexpr int64_t kTasks = 16;     // per thread: about a millisecond in all
constexpr int64_t kBytes = 128 << 20;

std::atomic<float> sink{0};  // results go here, so that no loop can be left out

void multiply_f32() {
  std::array<f32x16, kChains> sums;
  f32x16 a(0.999f), b(1e-3f);
  for (int64_t r = 0; r < kRounds; ++r) {
#pragma GCC unroll 16
    for (auto& s : sums) s = fma(s, a, b);
  }
  f32x16 total;
  for (const auto& s : sums) total = total + s;
  sink.store(sum(total), std::memory_order_relaxed);
}

#if defined(TESSERA_AVX512) && defined(__AVX512BF16__)
constexpr bool kHasBf16 = true;
void multiply_bf16() {
  std::array<f32x16, kChains> sums;
  const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
  for (int64_t r = 0; r < kRounds; ++r) {
#pragma GCC unroll 16
    for (auto& s : sums) s.v = _mm512_dpbf16_ps(s.v, a, a);
  }
  f32x16 total;
  for (const auto& s : sums) total = total + s;
  sink.store(sum(total), std::memory_order_relaxed);
}
#else
constexpr bool kHasBf16 = false;
void multiply_bf16() {}
#endif

// Best GB/s of `repeats` runs of f, each of which moves `bytes`.
template <class F> double memory_rate(int threads, int repeats, double bytes, const F& f) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = now(threads);
    f();
    best = std::min(best, now(threads) - start);
  }
  return bytes / best * 1e-9;
}

// Four streams at a time: one does not saturate a core's share of the memory.
float read_all(const float* p, int64_t n) {
  const int64_t quarter = n / 4;
  f32x16 a, b, c, d;
  for (int64_t i = 0; i + kLanes <= quarter; i += kLanes) {
    a = a + load(p + i);
    b = b + load(p + quarter + i);
    c = c + load(p + 2 * quarter + i);
    d = d + load(p + 3 * quarter + i);
  }
  return sum(a + b) + sum(c + d);
}

std::string rate(double r) { return r > 0 ? fmt::format("{:.1f}", r) : std::string("-"); }

}  // namespace

double now(int threads) {
  timespec t{};
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double multiply_peak(bool bf16, int threads, int repeats) {
  if (bf16 && !kHasBf16) return 0;
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = now(threads);
    parallel_for(threads * kTasks, 1, [&](int64_t, int64_t) { bf16 ? multiply_bf16() : multiply_f32(); });
    best = std::min(best, now(threads) - start);
  }
  const double flops = static_cast<double>(threads * kTasks * kRounds * kChains * kLanes) * (bf16 ? 4 : 2);
  return flops / best * 1e-9;
}

Roof measure_roof(int threads) {
  Roof roof;
  roof.f32 = multiply_peak(false, threads, 30);
  roof.bf16 = multiply_peak(true, threads, 30);
  const Tensor buffer({kBytes / 4}, DType::f32, Device::cpu(), "bench");
  fill(buffer, 0);  // pages exist before the clock starts
  float* p = buffer.data<float>();
  const int64_t n = buffer.numel(), half = n / 2, task = n / 32;
  roof.read = memory_rate(threads, 8, static_cast<double>(kBytes), [&] {
    parallel_for(n, task, [&](int64_t begin, int64_t end) {
      sink.store(read_all(p + begin, end - begin), std::memory_order_relaxed);
    });
  });
  roof.copy = memory_rate(threads, 8, static_cast<double>(kBytes), [&] {
    parallel_for(half, task, [&](int64_t begin, int64_t end) {
      for_lanes(end - begin, [&](int64_t i, int lanes) {
        store(p + half + begin + i, load(p + begin + i, lanes), lanes);
      });
    });
  });
  return roof;
}

int run_roof(int most_threads) {
  fmt::print("{:>8}{:>14}{:>14}{:>12}{:>12}\n", "threads", "f32 GFLOP/s", "bf16 GFLOP/s", "read GB/s",
             "copy GB/s");
  for (int n = 1; n <= most_threads; ++n) {
    set_threads(n);
    const Roof r = measure_roof(n);
    fmt::print("{:>8}{:>14}{:>14}{:>12}{:>12}\n", n, rate(r.f32), rate(r.bf16), rate(r.read), rate(r.copy));
  }
  return 0;
}

}  // namespace tessera::bench
