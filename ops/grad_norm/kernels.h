// The contract of grad_norm's halves: the op has checked its arguments.
#pragma once

#include <span>

#include "engine/tensor.h"

namespace tessera {

struct GradNormKernels {
  void (*forward)(const Tensor& norm, const Tensor& grad, double max_norm, const Tensor& state,
                  std::span<const Tensor> losses);
};

extern const GradNormKernels grad_norm_cpu;

}  // namespace tessera
