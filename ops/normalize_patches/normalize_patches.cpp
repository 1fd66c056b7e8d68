// Checks of normalize_patches.
#include "ops/normalize_patches/normalize_patches.h"

#include "autograd/audit.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/normalize_patches/kernels.h"

namespace tessera {

Tensor normalize_patches(const Tensor& x) {
  TS_CHECK(x.rank() >= 1 && x.dim(-1) >= 2, "normalize_patches: x is {}, wanted [..., P] with P >= 2",
           x.shape().str());
  TS_CHECK(x.dtype() == DType::f32, "normalize_patches: x is {}, wanted f32", name(x.dtype()));
  constexpr float kEps = 1e-6f;  // inside the root, as in MAE: models_mae.py, forward_loss
  const Tensor y(x.shape(), DType::f32, x.device());
  const ProfileScope scope("normalize_patches", bytes_of(y, x));
  half_on(x.device(), normalize_patches_cpu).forward(y, x, kEps);
  audit::output("normalize_patches", y);
  return y;
}

}  // namespace tessera
