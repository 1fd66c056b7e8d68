// The contract of masked_mse's halves. M rows of P values; mask [M] f32 or undefined (all ones).
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct MaskedMseKernels {
  // loss [1], mask_sum [1], row_error [M], all f32. Throws if the mask's sum is not above zero.
  void (*forward)(const Tensor& loss, const Tensor& mask_sum, const Tensor& row_error, const Tensor& pred,
                  const Tensor& target, const Tensor& mask);
  // dpred = dy * mask * 2 (pred - target) / (P * mask_sum), of pred's dtype, overwritten; dy [1] f32.
  void (*backward)(const Tensor& dpred, const Tensor& dy, const Tensor& mask_sum, const Tensor& pred,
                   const Tensor& target, const Tensor& mask);
};

extern const MaskedMseKernels masked_mse_cpu;

}  // namespace tessera
