// CPU half of gelu. With w = |x| and Q(w) = P(Z > w): gelu(x) = max(x, 0) - w Q(w), which cancels nowhere.
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/gelu/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 8192;

// Beyond 14.5 tail and bell are 0 in f32. The operand order of min lets NaN through.
f32x16 magnitude(f32x16 x) { return min(f32x16(14.5f), abs(x)); }

f32x16 value(f32x16 x) {
  const f32x16 w = magnitude(x);
  return max(f32x16(0.0f), x) - w * normal_tail(w).tail;
}

f32x16 slope(f32x16 x) {
  const f32x16 w = magnitude(x);
  const NormalTail n = normal_tail(w);
  const f32x16 below = n.tail -
                       w * n.bell *
                           f32x16(0.398942280401432678f);  // the slope at -w; at w it is 1 minus that
  return select_less(x, f32x16(0.0f), below, f32x16(1.0f) - below);
}

void forward(const Tensor& y, const Tensor& x) {
  with_float_type(x.dtype(), "gelu", [&](auto type) {
    using T = decltype(type);
    const T* px = x.data<T>();
    T* py = y.data<T>();
    parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for_lanes(end - begin,
                [&](int64_t i, int n) { store(py + begin + i, value(load(px + begin + i, n)), n); });
    });
  });
}

void backward(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& x) {
  with_float_type(x.dtype(), "gelu", [&](auto type) {
    using T = decltype(type);
    const T *px = x.data<T>(), *py = dy.data<T>();
    T* pd = dx.data<T>();
    parallel_for(x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for_lanes(end - begin, [&](int64_t k, int n) {
        const int64_t i = begin + k;
        f32x16 d = load(py + i, n) * slope(load(px + i, n));
        if (accumulate) d = d + load(pd + i, n);
        store(pd + i, d, n);
      });
    });
  });
}

}  // namespace

const GeluKernels gelu_cpu{forward, backward};

}  // namespace tessera
