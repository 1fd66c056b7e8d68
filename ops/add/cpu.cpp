// CPU half of add. The gradient of a broadcast input is summed over the samples in a strip that stays in L1.
#include <algorithm>
#include <type_traits>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/add/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;
constexpr int64_t kStrip = 4096;

void forward(const Tensor& y, const Tensor& x, const Tensor& p) {
  with_float_type(x.dtype(), "add", [&](auto xt) {
    with_float_type(p.dtype(), "add", [&](auto pt) {
      using X = decltype(xt);
      using P = decltype(pt);
      using Y = std::conditional_t<std::is_same_v<X, bf16> && std::is_same_v<P, bf16>, bf16, float>;
      const X* px = x.data<X>();
      const P* pp = p.data<P>();
      Y* py = y.data<Y>();
      const int64_t period = p.numel();
      parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t at = begin % period, length = std::min(end - begin, period - at);
          for_lanes(length, [&](int64_t i, int n) {
            store(py + begin + i, load(px + begin + i, n) + load(pp + at + i, n), n);
          });
          begin += length;
        }
      });
    });
  });
}

void gradient(const Tensor& d, bool accumulate, const Tensor& dy) {
  const int64_t period = d.numel();
  if (period == 0) return;
  const int64_t batch = dy.numel() / period;
  with_float_type(d.dtype(), "add", [&](auto dt) {
    with_float_type(dy.dtype(), "add", [&](auto yt) {
      auto* pd = d.data<decltype(dt)>();
      const auto* py = dy.data<decltype(yt)>();
      parallel_for(period, kStrip, [&](int64_t begin, int64_t end) {
        float total[kStrip];
        std::fill_n(total, end - begin, 0.0f);
        for (int64_t b = 0; b < batch; ++b) add_row(total, py + b * period + begin, end - begin);
        if (accumulate) {
          add_row(pd + begin, total, end - begin);
        } else {
          copy_row(pd + begin, total, end - begin);
        }
      });
    });
  });
}

}  // namespace

const AddKernels add_cpu{forward, gradient};

}  // namespace tessera
