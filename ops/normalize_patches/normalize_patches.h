// Targets of masked autoencoders: each patch to zero mean and unit variance (He et al. 2022; spec mae.md
// section 2.6).
#pragma once

#include "engine/tensor.h"

namespace tessera {

// y = (x - mean) / sqrt(var + 1e-6) over the last dimension; var is the unbiased variance (divisor P - 1).
// x [..., P] f32, y the same. Exact to f32's rounding even for a nearly flat patch far from zero. No
// gradient: targets are data. Throws if x is not f32 or P < 2 (a single value has no variance).
Tensor normalize_patches(const Tensor& x);

}  // namespace tessera
