// The contract of batch_norm's halves. x, y, dx, dy [B,D] of one dtype, f32 or bf16; everything else [D] f32.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct BatchNormKernels {
  // Mean and biased variance of every column.
  void (*statistics)(const Tensor& mean, const Tensor& variance, const Tensor& x);
  // y = (x - mean) * rstd; writes rstd = 1 / sqrt(variance + eps) first.
  void (*forward)(const Tensor& y, const Tensor& rstd, const Tensor& x, const Tensor& mean,
                  const Tensor& variance, float eps);
  // running = (1 - momentum) running + momentum * batch; the variance is made unbiased over `batch` samples.
  void (*move_running)(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean,
                       const Tensor& variance, int64_t batch, float momentum);
  // training: dx = rstd * (dy - mean(dy) - hat * mean(dy * hat)); else dx = rstd * dy. dx is overwritten.
  void (*backward)(const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& mean,
                   const Tensor& rstd, bool training);
};

extern const BatchNormKernels batch_norm_cpu;

}  // namespace tessera
