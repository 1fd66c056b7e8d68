// CPU half of masked_mse: one error per row in f32, then the rows in order in double.
#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/masked_mse/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kRowsPerTask = 16;

template <class X> float row_mean(const X* pred, const float* target, int64_t p) {
  f32x16 squares;  // lanes past the tail are 0 - 0
  for_lanes(p, [&](int64_t i, int n) {
    const f32x16 d = load(pred + i, n) - load(target + i, n);
    squares = fma(d, d, squares);
  });
  return sum(squares) / static_cast<float>(p);
}

void forward(const Tensor& loss, const Tensor& mask_sum, const Tensor& row_error, const Tensor& pred,
             const Tensor& target, const Tensor& mask) {
  const int64_t p = pred.dim(-1), m = row_error.numel();
  const float* pt = target.data<float>();
  const float* pm = mask.defined() ? mask.data<float>() : nullptr;
  float* pe = row_error.data<float>();
  with_float_type(pred.dtype(), "masked_mse", [&](auto xt) {
    const auto* px = pred.data<decltype(xt)>();
    parallel_for(m, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) pe[r] = row_mean(px + r * p, pt + r * p, p);
    });
  });
  double total = 0, weight = 0;
  for (int64_t r = 0; r < m; ++r) {
    const double w = pm != nullptr ? static_cast<double>(pm[r]) : 1.0;
    total += w * static_cast<double>(pe[r]);
    weight += w;
  }
  TS_CHECK(weight > 0, "masked_mse: the mask sums to {}: no row counts", weight);
  *loss.data<float>() = static_cast<float>(total / weight);
  *mask_sum.data<float>() = static_cast<float>(weight);
}

void backward(const Tensor& dpred, const Tensor& dy, const Tensor& mask_sum, const Tensor& pred,
              const Tensor& target, const Tensor& mask) {
  const int64_t p = pred.dim(-1), m = pred.numel() / p;
  const float* pt = target.data<float>();
  const float* pm = mask.defined() ? mask.data<float>() : nullptr;
  const double scale = 2.0 * static_cast<double>(*dy.data<float>()) /
                       (static_cast<double>(p) * static_cast<double>(*mask_sum.data<float>()));
  with_float_type(pred.dtype(), "masked_mse", [&](auto xt) {
    const auto* px = pred.data<decltype(xt)>();
    auto* pd = dpred.data<decltype(xt)>();
    parallel_for(m, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const f32x16 s(static_cast<float>(pm != nullptr ? scale * static_cast<double>(pm[r]) : scale));
        for_lanes(p, [&](int64_t i, int n) {
          store(pd + r * p + i, (load(px + r * p + i, n) - load(pt + r * p + i, n)) * s, n);
        });
      }
    });
  });
}

}  // namespace

const MaskedMseKernels masked_mse_cpu{forward, backward};

}  // namespace tessera
