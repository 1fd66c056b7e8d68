// The bias gradient behind the gemm door: column sums, by blocks of rows, then the blocks in order.
#include <algorithm>

#include "engine/check.h"
#include "engine/gemm.h"
#include "engine/parallel.h"
#include "engine/simd.h"

namespace tessera::gemm {
namespace {

constexpr int64_t kRowsPerBlock = 64;
constexpr int64_t kRowsAtOnce = 8;
constexpr int64_t kColumnsPerTask = 1024;  // of the second pass

// out[j] = sum over rows of dy[r][j], eight rows at a time: memory is fast along rows, and eight of them
// touch `out` only once.
template <class T> void sum_rows(float* out, const T* dy, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; r += kRowsAtOnce) {
    const T* p = dy + r * n;
    const int64_t count = std::min(kRowsAtOnce, rows - r);
    for_lanes(n, [&](int64_t j, int lanes) {
      f32x16 total = r > 0 ? load(out + j, lanes) : f32x16();
      for (int64_t i = 0; i < count; ++i) total = total + load(p + i * n + j, lanes);
      store(out + j, total, lanes);
    });
  }
}

}  // namespace

void bias_gradient(const Tensor& db, const Tensor& dy, bool accumulate) {
  TS_CHECK(dy.rank() == 2 && dy.numel() > 0, "gemm: bias_gradient: dy is {}, wanted [M,N], both at least 1",
           dy.shape().str());
  const int64_t m = dy.dim(0), n = dy.dim(1);
  TS_CHECK(db.numel() == n && db.dtype() == DType::f32,
           "gemm: bias_gradient: db is {} {}, wanted [{}] f32 for dy {}", db.shape().str(), name(db.dtype()),
           n, dy.shape().str());
  const int64_t blocks = (m + kRowsPerBlock - 1) / kRowsPerBlock;
  const Tensor partial({blocks, n}, DType::f32, Device::cpu(), "workspace");
  float* sums = partial.data<float>();
  with_float_type(dy.dtype(), "gemm: bias_gradient", [&](auto t) {
    const auto* p = dy.data<decltype(t)>();
    parallel_for(m, kRowsPerBlock, [&](int64_t begin, int64_t end) {
      sum_rows(sums + begin / kRowsPerBlock * n, p + begin * n, end - begin, n);
    });
  });
  float* out = db.data<float>();
  parallel_for(n, kColumnsPerTask, [&](int64_t begin, int64_t end) {
    for_lanes(end - begin, [&](int64_t i, int lanes) {
      f32x16 total = accumulate ? load(out + begin + i, lanes) : f32x16();
      for (int64_t b = 0; b < blocks; ++b) total = total + load(sums + b * n + begin + i, lanes);
      store(out + begin + i, total, lanes);
    });
  });
}

}  // namespace tessera::gemm
