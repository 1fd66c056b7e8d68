// CPU half of normalize_patches: rows are independent.
#include <cmath>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/normalize_patches/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kRowsPerTask = 16;

// Corrected two-pass statistics (Chan, Golub, LeVeque 1983): the rounding of a first mean would drown the
// deviations of a nearly flat patch, but differences from it are exact there, so their own mean `shift`
// repairs it.
void forward_row(float* y, const float* x, int64_t p, float eps) {
  const float count = static_cast<float>(p);
  f32x16 total;
  for_lanes(p, [&](int64_t i, int n) { total = total + load(x + i, n); });
  const f32x16 first_mean(sum(total) / count);
  f32x16 deviations, squares;
  for_lanes(p, [&](int64_t i, int n) {
    const f32x16 d = keep_first(load(x + i, n) - first_mean, n, f32x16(0.0f));
    deviations = deviations + d;
    squares = fma(d, d, squares);
  });
  const float shift = sum(deviations) / count;
  const float spread = sum(squares) -
                       count * shift * shift;  // may round below zero when all values are equal
  const float variance = spread < 0.0f ? 0.0f : spread / (count - 1.0f);
  const f32x16 rstd(1.0f / std::sqrt(variance + eps));
  for_lanes(p,
            [&](int64_t i, int n) { store(y + i, (load(x + i, n) - first_mean - f32x16(shift)) * rstd, n); });
}

void forward(const Tensor& y, const Tensor& x, float eps) {
  const int64_t p = x.dim(-1), m = x.numel() / p;
  const float* px = x.data<float>();
  float* py = y.data<float>();
  parallel_for(m, kRowsPerTask, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) forward_row(py + r * p, px + r * p, p, eps);
  });
}

}  // namespace

const NormalizePatchesKernels normalize_patches_cpu{forward};

}  // namespace tessera
