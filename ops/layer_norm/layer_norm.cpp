#include "ops/layer_norm/layer_norm.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/layer_norm/kernels.h"

namespace tessera {

Var layer_norm(const Var& x, const Var& gamma, const Var& beta, float eps, DType out) {
  TS_CHECK(x.rank() >= 1 && x.dim(-1) >= 1, "layer_norm: x is {}, wanted [..., C]", x.shape().str());
  const int64_t c = x.dim(-1), m = x.numel() / c;
  TS_CHECK(gamma.numel() == c, "layer_norm: x ends in {}, gamma has {}", c, gamma.numel());
  TS_CHECK(beta.numel() == c, "layer_norm: x ends in {}, beta has {}", c, beta.numel());
  TS_CHECK(is_float(x.dtype()) && is_float(out),
           "layer_norm: x is {} and y is to be {}; both must be f32 or bf16", name(x.dtype()), name(out));
  TS_CHECK(gamma.dtype() == DType::f32 && beta.dtype() == DType::f32,
           "layer_norm: gamma is {}, beta is {}; both must be f32", name(gamma.dtype()), name(beta.dtype()));

  const LayerNormKernels& half = half_on(x.device(), layer_norm_cpu);
  const Tensor mean({m}, DType::f32, x.device()), rstd({m}, DType::f32, x.device());
  const auto value = [&half, mean, rstd, x = x.value(), gamma = gamma.value(), beta = beta.value(), eps,
                      out] {
    const Tensor y(x.shape(), out, x.device(), "activations");
    const ProfileScope scope("layer_norm forward", bytes_of(y, x, mean, rstd));
    half.forward(y, mean, rstd, x, gamma, beta, eps);
    return y;
  };

  const Var y = Tape::record(
      "layer_norm", {x, gamma, beta}, value(),
      [&half, x = x.value(), gamma = gamma.value(), mean, rstd](const Tensor& dy, Grads& dx) {
        if (dx[1].wanted() || dx[2].wanted()) {
          const Tensor dgamma = dx[1].overwrite(), dbeta = dx[2].overwrite();
          const ProfileScope scope("layer_norm parameter gradient", bytes_of(dy, x, mean, rstd));
          half.parameter_gradient(dgamma, dbeta, dy, x, mean, rstd);
        }
        if (dx[0].wanted()) {
          bool accumulate = false;
          const Tensor dst = dx[0].add_into(&accumulate);
          const ProfileScope scope("layer_norm input gradient",
                                   bytes_of(dst, dy, x, mean, rstd) + (accumulate ? dst.bytes() : 0));
          half.input_gradient(dst, accumulate, dy, x, gamma, mean, rstd);
        }
      });
  return y.remade_by(value);
}

}  // namespace tessera
