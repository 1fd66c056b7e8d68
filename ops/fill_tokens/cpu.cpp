// CPU half of fill_tokens. Because ids_restore is a permutation, each visible token has exactly one place.
#include <algorithm>

#include "engine/check.h"
#include "engine/indices.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/fill_tokens/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;       // elements
constexpr int64_t kRowsPerBlock = 128;  // of the token gradient's partial sums

void check_permutations(const Tensor& ids_restore) {
  const int64_t batch = ids_restore.dim(0), length = ids_restore.dim(1);
  check_indices("fill_tokens", "ids_restore", ids_restore, length);
  const Tensor seen({length}, DType::i32, Device::cpu(),
                    "workspace");  // the last sample, from 1, in which an index was seen
  int32_t* mark = seen.data<int32_t>();
  const int32_t* id = ids_restore.data<int32_t>();
  std::fill_n(mark, length, 0);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t n = 0; n < length; ++n) {
      const int32_t r = id[b * length + n];
      TS_CHECK(mark[r] != b + 1,
               "fill_tokens: ids_restore[{}, {}] is {} a second time; wanted a permutation of 0 to {}", b, n,
               r, length - 1);
      mark[r] = static_cast<int32_t>(b + 1);
    }
  }
}

// Calls f(row of y, row of visible, or -1 where the token stands) for every row of y.
template <class F> void for_rows(const Tensor& y, const Tensor& ids_restore, int64_t visible_rows, F&& f) {
  const int64_t rows = y.dim(1), length = ids_restore.dim(1), prefix = rows - length;
  const int32_t* id = ids_restore.data<int32_t>();
  parallel_for(y.dim(0) * rows, 1 + kGrain / (y.dim(2) + 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / rows, n = i % rows;
      const int64_t r = n < prefix ? n : prefix + id[b * length + n - prefix];
      f(i, r < visible_rows ? b * visible_rows + r : int64_t{-1});
    }
  });
}

void forward(const Tensor& y, const Tensor& visible, const Tensor& token, const Tensor& ids_restore) {
  check_permutations(ids_restore);
  const int64_t c = y.dim(2);
  const float* fill = token.data<float>();
  with_float_type(y.dtype(), "fill_tokens", [&](auto type) {
    using T = decltype(type);
    T* py = y.data<T>();
    const T* px = visible.data<T>();
    for_rows(y, ids_restore, visible.dim(1), [&](int64_t to, int64_t from) {
      if (from < 0) {
        copy_row(py + to * c, fill, c);
      } else {
        copy_row(py + to * c, px + from * c, c);
      }
    });
  });
}

void visible_gradient(const Tensor& dvisible, bool accumulate, const Tensor& dy, const Tensor& ids_restore) {
  const int64_t c = dy.dim(2);
  with_float_type(dy.dtype(), "fill_tokens", [&](auto type) {
    using T = decltype(type);
    T* pd = dvisible.data<T>();
    const T* py = dy.data<T>();
    for_rows(dy, ids_restore, dvisible.dim(1), [&](int64_t from, int64_t to) {
      if (to < 0) return;
      if (accumulate) {
        add_row(pd + to * c, py + from * c, c);
      } else {
        copy_row(pd + to * c, py + from * c, c);
      }
    });
  });
}

void token_gradient(const Tensor& dtoken, bool accumulate, const Tensor& dy, const Tensor& ids_restore,
                    int64_t visible_count) {
  const int64_t c = dy.dim(2), rows = dy.dim(1), length = ids_restore.dim(1), places = ids_restore.numel();
  const int64_t blocks = (places + kRowsPerBlock - 1) / kRowsPerBlock;
  const Tensor partial({blocks, c}, DType::f32, Device::cpu(), "workspace");
  const int32_t* id = ids_restore.data<int32_t>();
  float *pp = partial.data<float>(), *pd = dtoken.data<float>();
  with_float_type(dy.dtype(), "fill_tokens", [&](auto type) {
    const auto* py = dy.data<decltype(type)>();
    parallel_for(places, kRowsPerBlock, [&](int64_t begin, int64_t end) {
      for (; begin < end; begin += kRowsPerBlock) {
        float* total = pp + begin / kRowsPerBlock * c;
        std::fill_n(total, c, 0.0f);
        for (int64_t i = begin; i < std::min(end, begin + kRowsPerBlock); ++i) {
          const int64_t row = (i / length) * rows + rows - length + i % length;
          if (id[i] >= visible_count) add_row(total, py + row * c, c);
        }
      }
    });
  });
  if (!accumulate) std::fill_n(pd, c, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) add_row(pd, pp + b * c, c);
}

}  // namespace

const FillTokensKernels fill_tokens_cpu{forward, visible_gradient, token_gradient};

}  // namespace tessera
