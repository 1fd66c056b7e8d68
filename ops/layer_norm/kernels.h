// The contract of layer_norm's halves. M rows of C; mean, rstd [M] f32.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct LayerNormKernels {
  void (*forward)(const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& x,
                  const Tensor& gamma, const Tensor& beta, float eps);
  // dx = or += (accumulate), of x's dtype; dy of y's dtype.
  void (*input_gradient)(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& x,
                         const Tensor& gamma, const Tensor& mean, const Tensor& rstd);
  // dgamma, dbeta [C] f32, overwritten.
  void (*parameter_gradient)(const Tensor& dgamma, const Tensor& dbeta, const Tensor& dy, const Tensor& x,
                             const Tensor& mean, const Tensor& rstd);
};

extern const LayerNormKernels layer_norm_cpu;

}  // namespace tessera
