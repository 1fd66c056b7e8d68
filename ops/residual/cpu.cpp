// CPU half of residual.
#include <algorithm>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/residual/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;

// Calls f(begin, end, factor) over pieces of [0, n) within one sample each.
template <class F> void for_samples(int64_t n, const Tensor& keep, F&& f) {
  if (n == 0) return;
  const float* factors = keep.defined() ? keep.data<float>() : nullptr;
  const int64_t inner = factors ? n / keep.numel() : n;
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t b = begin / inner, stop = std::min(end, (b + 1) * inner);
      f(begin, stop, f32x16(factors ? factors[b] : 1.0f));
      begin = stop;
    }
  });
}

void forward(const Tensor& y, const Tensor& x, const Tensor& f, const Tensor& keep) {
  with_float_type(x.dtype(), "residual", [&](auto xt) {
    with_float_type(f.dtype(), "residual", [&](auto ft) {
      const auto* px = x.data<decltype(xt)>();
      const auto* pf = f.data<decltype(ft)>();
      auto* py = y.data<decltype(xt)>();
      for_samples(y.numel(), keep, [&](int64_t begin, int64_t end, f32x16 factor) {
        for_lanes(end - begin, [&](int64_t k, int n) {
          const int64_t i = begin + k;
          store(py + i, fma(load(pf + i, n), factor, load(px + i, n)), n);
        });
      });
    });
  });
}

void branch_gradient(const Tensor& df, bool accumulate, const Tensor& dy, const Tensor& keep) {
  with_float_type(df.dtype(), "residual", [&](auto ft) {
    with_float_type(dy.dtype(), "residual", [&](auto yt) {
      auto* pd = df.data<decltype(ft)>();
      const auto* py = dy.data<decltype(yt)>();
      for_samples(df.numel(), keep, [&](int64_t begin, int64_t end, f32x16 factor) {
        for_lanes(end - begin, [&](int64_t k, int n) {
          const int64_t i = begin + k;
          f32x16 d = load(py + i, n) * factor;
          if (accumulate) d = d + load(pd + i, n);
          store(pd + i, d, n);
        });
      });
    });
  });
}

}  // namespace

const ResidualKernels residual_cpu{forward, branch_gradient};

}  // namespace tessera
