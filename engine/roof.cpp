// The loops whose speed is the roof.
#include "engine/roof.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "engine/copy.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "engine/tensor.h"

namespace tessera::roof {
namespace {

constexpr int kChains = 16;        // independent sums: two units times a latency of four to eight cycles
constexpr int64_t kRounds = 4096;  // of one task
constexpr int64_t kTasks = 16;     // per thread: about a millisecond in all
constexpr auto kLargest = static_cast<int64_t>(kLargestSet);
constexpr int64_t kLeast = 1 << 20;   // bytes between two looks at the clock
constexpr int64_t kTask = 256 << 10;  // bytes

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

// Runs f(begin, end) over n floats in tasks, often enough to be timed. GB/s, for `per_float` bytes each.
template <class F> double memory_rate(int64_t n, int64_t per_float, int threads, const F& f) {
  const int64_t rounds = std::max<int64_t>(1, kLeast / (n * 4));
  const double start = now(threads);
  for (int64_t r = 0; r < rounds; ++r) parallel_for(n, kTask / 4, f);
  return static_cast<double>(rounds * n * per_float) / (now(threads) - start) * 1e-9;
}

void read_floats(const float* p, int64_t n) {
  f32x16 a, b, c, d;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = a + load(p + i);
    b = b + load(p + i + kLanes);
    c = c + load(p + i + 2 * kLanes);
    d = d + load(p + i + 3 * kLanes);
  }
  sink.store(sum(a + b) + sum(c + d), std::memory_order_relaxed);
}

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

double MemoryRates::best() const { return std::max({read, copy, update}); }

MemoryRates memory_peak(double bytes, int threads, int repeats) {
  static const Tensor buffer = [] {
    const Tensor t({kLargest / 4}, DType::f32, Device::cpu(), "roof");
    fill(t, 0);  // pages exist before the clock starts
    return t;
  }();
  float* p = buffer.data<float>();
  const int64_t n = std::clamp(static_cast<int64_t>(bytes), int64_t{4096}, kLargest) / 128 * 32, half = n / 2;
  MemoryRates best;
  for (int i = 0; i < repeats; ++i) {
    const double read = memory_rate(n, 4, threads, [&](int64_t b, int64_t e) { read_floats(p + b, e - b); });
    const double copy = memory_rate(half, 8, threads, [&](int64_t b, int64_t e) {
      for_lanes(e - b, [&](int64_t j, int lanes) { store(p + half + b + j, load(p + b + j, lanes), lanes); });
    });
    const double update = memory_rate(n, 8, threads, [&](int64_t b, int64_t e) {
      for_lanes(e - b, [&](int64_t j, int lanes) {
        store(p + b + j, load(p + b + j, lanes) + f32x16(1.0f), lanes);
      });
    });
    best = {std::max(best.read, read), std::max(best.copy, copy), std::max(best.update, update)};
  }
  return best;
}

}  // namespace tessera::roof
