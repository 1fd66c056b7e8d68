// The contract of add's halves. x, y hold B times p's elements (B >= 1); each tensor f32 or bf16, y bf16 only
// if x and p are.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct AddKernels {
  void (*forward)(const Tensor& y, const Tensor& x, const Tensor& p);
  // d = or += (accumulate) the sum over b of dy[b], dy holding B times d's elements; any pair of dtypes.
  void (*gradient)(const Tensor& d, bool accumulate, const Tensor& dy);
};

extern const AddKernels add_cpu;

}  // namespace tessera
