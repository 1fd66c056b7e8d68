// The contract of normalize_patches' halves. M rows of P values.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct NormalizePatchesKernels {
  void (*forward)(const Tensor& y, const Tensor& x, float eps);
};

extern const NormalizePatchesKernels normalize_patches_cpu;

}  // namespace tessera
