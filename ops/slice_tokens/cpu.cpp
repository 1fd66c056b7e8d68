// CPU half of slice_tokens: rows copied.
#include <algorithm>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/slice_tokens/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements

void forward(const Tensor& y, const Tensor& x, int64_t begin) {
  const int64_t m = y.dim(1), n = x.dim(1), c = x.dim(2);
  with_float_type(x.dtype(), "slice_tokens", [&](auto type) {
    using T = decltype(type);
    const T* px = x.data<T>();
    T* py = y.data<T>();
    parallel_for(y.dim(0) * m, 1 + kGrain / (c + 1), [&](int64_t r0, int64_t r1) {
      for (int64_t r = r0; r < r1; ++r) copy_row(py + r * c, px + (r / m * n + begin + r % m) * c, c);
    });
  });
}

void backward(const Tensor& dx, bool accumulate, const Tensor& dy, int64_t begin) {
  const int64_t m = dy.dim(1), n = dx.dim(1), c = dx.dim(2);
  with_float_type(dx.dtype(), "slice_tokens", [&](auto type) {
    using T = decltype(type);
    T* pd = dx.data<T>();
    const T* py = dy.data<T>();
    parallel_for(dx.dim(0) * n, 1 + kGrain / (c + 1), [&](int64_t r0, int64_t r1) {
      for (int64_t r = r0; r < r1; ++r) {
        const int64_t i = r % n - begin;
        if (i < 0 || i >= m) {
          if (!accumulate) std::fill_n(pd + r * c, c, T{});
        } else if (accumulate) {
          add_row(pd + r * c, py + (r / n * m + i) * c, c);
        } else {
          copy_row(pd + r * c, py + (r / n * m + i) * c, c);
        }
      }
    });
  });
}

}  // namespace

const SliceTokensKernels slice_tokens_cpu{forward, backward};

}  // namespace tessera
