// The contract of gelu's halves. All tensors have one shape and one dtype, f32 or bf16.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct GeluKernels {
  void (*forward)(const Tensor& y, const Tensor& x);
  // dx = or += (accumulate) dy * gelu'(x).
  void (*backward)(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& x);
};

extern const GeluKernels gelu_cpu;

}  // namespace tessera
