// CPU half of gather_tokens. Backward turns the ids round (which places took this token?), so that each
// token's gradient is summed by one task and rounded once, whatever repeats.
#include <algorithm>

#include "engine/indices.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/gather_tokens/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements
constexpr int64_t kStrip = 1024;   // columns summed at a time

void forward(const Tensor& y, const Tensor& x, const Tensor& ids) {
  const int64_t k = ids.dim(1), n = x.dim(1), c = x.dim(2), sample = x.dim(0) == 1 ? 0 : n * c;
  check_indices("gather_tokens", "ids", ids, n);
  const int32_t* id = ids.data<int32_t>();
  with_float_type(x.dtype(), "gather_tokens", [&](auto type) {
    using T = decltype(type);
    const T* px = x.data<T>();
    T* py = y.data<T>();
    parallel_for(ids.numel(), 1 + kGrain / (c + 1), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) copy_row(py + r * c, px + (r / k) * sample + id[r] * c, c);
    });
  });
}

// For each of `rows` tokens, the places that took it, ascending: takers[first[t]] up to takers[first[t + 1]].
struct Takers {
  Tensor first, takers;

  Takers(const Tensor& ids, int64_t rows, int64_t tokens_per_sample)
      : first({rows + 1}, DType::i32, Device::cpu(), "workspace"),
        takers({std::max<int64_t>(1, ids.numel())}, DType::i32, Device::cpu(), "workspace") {
    const int32_t* id = ids.data<int32_t>();
    int32_t *f = first.data<int32_t>(), *t = takers.data<int32_t>();
    const int64_t k = ids.dim(1), places = ids.numel();
    const auto token = [&](int64_t place) { return (place / k) * tokens_per_sample + id[place]; };
    std::fill_n(f, rows + 1, 0);
    for (int64_t p = 0; p < places; ++p) ++f[token(p)];
    for (int64_t r = 1; r <= rows; ++r)
      f[r] += f[r - 1];  // now the end of each group; filling backwards makes it the start
    for (int64_t p = places - 1; p >= 0; --p) t[--f[token(p)]] = static_cast<int32_t>(p);
  }
};

void backward(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& ids) {
  const int64_t rows = dx.dim(0) * dx.dim(1), c = dx.dim(2);
  const Takers takers(ids, rows, dx.dim(0) == 1 ? 0 : dx.dim(1));
  const int32_t *first = takers.first.data<int32_t>(), *place = takers.takers.data<int32_t>();
  with_float_type(dx.dtype(), "gather_tokens", [&](auto type) {
    using T = decltype(type);
    T* pd = dx.data<T>();
    const T* py = dy.data<T>();
    parallel_for(rows, 1 + kGrain / (c + 1), [&](int64_t begin, int64_t end) {
      float total[kStrip];
      for (int64_t r = begin; r < end; ++r) {
        const int32_t from = first[r], to = first[r + 1];
        if (from == to) {
          if (!accumulate) std::fill_n(pd + r * c, c, T{});
          continue;
        }
        for (int64_t at = 0; at < c; at += kStrip) {
          const int64_t length = std::min(kStrip, c - at);
          copy_row(total, py + place[from] * c + at, length);
          for (int32_t i = from + 1; i < to; ++i) add_row(total, py + place[i] * c + at, length);
          if (accumulate) {
            add_row(pd + r * c + at, total, length);
          } else {
            copy_row(pd + r * c + at, total, length);
          }
        }
      }
    });
  });
}

}  // namespace

const GatherTokensKernels gather_tokens_cpu{forward, backward};

}  // namespace tessera
