// The contract of linear's halves. x [M,K], w [N,K], y [M,N].
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct LinearKernels {
  // y = x wᵀ + bias; bias [N] f32 or undefined.
  void (*forward)(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias);
  // dx = dy w, overwritten. dy, w of one dtype.
  void (*input_gradient)(const Tensor& dx, const Tensor& dy, const Tensor& w);
  // dw [N,K] f32 = or += dyᵀ x. dy, x of one dtype.
  void (*weight_gradient)(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate);
  // db [N] f32 = or += column sums of dy.
  void (*bias_gradient)(const Tensor& db, const Tensor& dy, bool accumulate);
};

extern const LinearKernels linear_cpu;

}  // namespace tessera
