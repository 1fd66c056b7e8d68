// Checks and gradient of batch_norm.
#include "ops/batch_norm/batch_norm.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/batch_norm/kernels.h"

namespace tessera {

Var batch_norm(const Var& x, const Tensor& running_mean, const Tensor& running_var, BatchNormMode mode,
               float eps, float momentum) {
  const bool training = mode == BatchNormMode::training;
  TS_CHECK(x.rank() == 2 && x.numel() >= 1, "batch_norm: x is {}, wanted [B,D]", x.shape().str());
  TS_CHECK(is_float(x.dtype()), "batch_norm: x is {}, wanted f32 or bf16", name(x.dtype()));
  const int64_t batch = x.dim(0), d = x.dim(1);
  TS_CHECK(running_mean.shape() == Shape({d}) && running_var.shape() == Shape({d}),
           "batch_norm: x is {}, running mean is {} and variance {}, wanted [{}]", x.shape().str(),
           running_mean.shape().str(), running_var.shape().str(), d);
  TS_CHECK(running_mean.dtype() == DType::f32 && running_var.dtype() == DType::f32,
           "batch_norm: running mean is {} and variance {}, wanted f32", name(running_mean.dtype()),
           name(running_var.dtype()));
  TS_CHECK(!training || batch >= 2, "batch_norm: a batch of {} has no variance; train on two samples or more",
           batch);

  const BatchNormKernels& half = half_on(x.device(), batch_norm_cpu);
  const Tensor y(x.shape(), x.dtype(), x.device());
  const Tensor rstd({d}, DType::f32, x.device());
  Tensor mean = running_mean, variance = running_var;
  if (training) {
    mean = Tensor({d}, DType::f32, x.device());
    variance = Tensor({d}, DType::f32, x.device());
    const ProfileScope scope("batch_norm statistics", bytes_of(x.value()));
    half.statistics(mean, variance, x.value());
    half.move_running(running_mean, running_var, mean, variance, batch, momentum);
  }
  {
    const ProfileScope scope("batch_norm forward", bytes_of(y, x.value()));
    half.forward(y, rstd, x.value(), mean, variance, eps);
  }
  return Tape::record("batch_norm", {x}, y,
                      [&half, x = x.value(), mean, rstd, training](const Tensor& dy, Grads& dx) {
                        if (!dx[0].wanted()) return;
                        const Tensor dst = dx[0].overwrite();
                        const ProfileScope scope("batch_norm backward", bytes_of(dst, dy, x));
                        half.backward(dst, dy, x, mean, rstd, training);
                      });
}

}  // namespace tessera
