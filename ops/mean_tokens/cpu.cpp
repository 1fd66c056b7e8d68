// CPU half of mean_tokens. A task sums one strip of columns of one sample, token after token.
#include <algorithm>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/mean_tokens/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements
constexpr int64_t kStrip = 1024;   // columns

void forward(const Tensor& y, const Tensor& x, int64_t first) {
  const int64_t n = x.dim(1), c = x.dim(2), strips = (c + kStrip - 1) / kStrip;
  const f32x16 count(static_cast<float>(n - first));
  with_float_type(x.dtype(), "mean_tokens", [&](auto type) {
    using T = decltype(type);
    const T* px = x.data<T>();
    T* py = y.data<T>();
    parallel_for(x.dim(0) * strips, 1, [&](int64_t s0, int64_t s1) {
      float total[kStrip];
      for (int64_t s = s0; s < s1; ++s) {
        const int64_t b = s / strips, at = s % strips * kStrip, length = std::min(kStrip, c - at);
        std::fill_n(total, length, 0.0f);
        for (int64_t i = first; i < n; ++i) add_row(total, px + (b * n + i) * c + at, length);
        for_lanes(length,
                  [&](int64_t i, int m) { store(py + b * c + at + i, load(total + i, m) / count, m); });
      }
    });
  });
}

void backward(const Tensor& dx, bool accumulate, const Tensor& dy, int64_t first) {
  const int64_t n = dx.dim(1), c = dx.dim(2);
  const f32x16 share(1.0f / static_cast<float>(n - first));
  with_float_type(dx.dtype(), "mean_tokens", [&](auto type) {
    using T = decltype(type);
    T* pd = dx.data<T>();
    const T* py = dy.data<T>();
    parallel_for(dx.dim(0) * n, 1 + kGrain / (c + 1), [&](int64_t r0, int64_t r1) {
      for (int64_t r = r0; r < r1; ++r) {
        T* d = pd + r * c;
        if (r % n < first) {
          if (!accumulate) std::fill_n(d, c, T{});
          continue;
        }
        const T* g = py + r / n * c;
        for_lanes(c, [&](int64_t i, int m) {
          const f32x16 v = load(g + i, m) * share;
          store(d + i, accumulate ? v + load(d + i, m) : v, m);
        });
      }
    });
  });
}

}  // namespace

const MeanTokensKernels mean_tokens_cpu{forward, backward};

}  // namespace tessera
