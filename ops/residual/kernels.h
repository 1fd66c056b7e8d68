// The contract of residual's halves. B samples; x, f, y of one shape, each f32 or bf16; keep [B] f32 or
// undefined (= 1).
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct ResidualKernels {
  void (*forward)(const Tensor& y, const Tensor& x, const Tensor& f, const Tensor& keep);
  // df = or += (accumulate) keep * dy, in f's dtype.
  void (*branch_gradient)(const Tensor& df, bool accumulate, const Tensor& dy, const Tensor& keep);
};

extern const ResidualKernels residual_cpu;

}  // namespace tessera
