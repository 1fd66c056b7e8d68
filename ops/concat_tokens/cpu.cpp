// CPU half of concat_tokens: rows copied, or summed over the batch.
#include <algorithm>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/concat_tokens/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements
constexpr int64_t kStrip = 1024;   // columns summed at a time

// The rows of `part` to tokens [begin, begin + M) of every sample of y.
void place(const Tensor& y, const Tensor& part, int64_t begin) {
  const int64_t m = part.dim(1), n = y.dim(1), c = y.dim(2), sample = part.dim(0) == 1 ? 0 : m;
  with_float_type(y.dtype(), "concat_tokens", [&](auto yt) {
    with_float_type(part.dtype(), "concat_tokens", [&](auto pt) {
      auto* py = y.data<decltype(yt)>();
      const auto* pp = part.data<decltype(pt)>();
      parallel_for(y.dim(0) * m, 1 + kGrain / (c + 1), [&](int64_t r0, int64_t r1) {
        for (int64_t r = r0; r < r1; ++r) {
          const int64_t b = r / m, i = r % m;
          copy_row(py + (b * n + begin + i) * c, pp + (b * sample + i) * c, c);
        }
      });
    });
  });
}

void forward(const Tensor& y, const Tensor& a, const Tensor& b) {
  place(y, a, 0);
  place(y, b, a.dim(1));
}

void gradient(const Tensor& d, bool accumulate, const Tensor& dy, int64_t begin) {
  const int64_t m = d.dim(1), n = dy.dim(1), c = dy.dim(2);
  const int64_t terms = dy.dim(0) / std::max<int64_t>(1, d.dim(0));  // samples summed into one
  with_float_type(d.dtype(), "concat_tokens", [&](auto dt) {
    with_float_type(dy.dtype(), "concat_tokens", [&](auto yt) {
      auto* pd = d.data<decltype(dt)>();
      const auto* py = dy.data<decltype(yt)>();
      parallel_for(d.dim(0) * m, 1 + kGrain / (c * terms + 1), [&](int64_t r0, int64_t r1) {
        float total[kStrip];
        for (int64_t r = r0; r < r1; ++r) {
          const auto* source = py + ((r / m) * n + begin + r % m) * c;
          for (int64_t at = 0; at < c; at += kStrip) {
            const int64_t length = std::min(kStrip, c - at);
            std::fill_n(total, length, 0.0f);
            for (int64_t b = 0; b < terms; ++b) add_row(total, source + b * n * c + at, length);
            if (accumulate) {
              add_row(pd + r * c + at, total, length);
            } else {
              copy_row(pd + r * c + at, total, length);
            }
          }
        }
      });
    });
  });
}

}  // namespace

const ConcatTokensKernels concat_tokens_cpu{forward, gradient};

}  // namespace tessera
