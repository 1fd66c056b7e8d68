// Checks of grad_norm.
#include "ops/grad_norm/grad_norm.h"

#include "engine/check.h"
#include "engine/profile.h"
#include "engine/slab.h"
#include "ops/grad_norm/kernels.h"

namespace tessera {

void grad_norm(const Tensor& norm, const Tensor& grad, double max_norm, const Tensor& state,
               std::span<const Tensor> losses) {
  check_slabs("grad_norm", {&grad, 1}, {}, {}, state);
  TS_CHECK(norm.shape() == Shape({1}) && norm.dtype() == DType::f32,
           "grad_norm: norm is {} {}, wanted [1] f32", norm.shape().str(), name(norm.dtype()));
  for (const Tensor& loss : losses) {
    TS_CHECK(loss.numel() == 1 && loss.dtype() == DType::f32, "grad_norm: a loss is {} {}, wanted [1] f32",
             loss.shape().str(), name(loss.dtype()));
  }
  TS_CHECK(max_norm >= 0, "grad_norm: max_norm is {}, wanted 0 (no clipping) or more", max_norm);
  const ProfileScope scope("grad_norm", bytes_of(grad));
  half_on(grad.device(), grad_norm_cpu).forward(norm, grad, max_norm, state, losses);
}

}  // namespace tessera
