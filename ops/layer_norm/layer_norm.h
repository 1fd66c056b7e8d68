// Layer normalisation over the last dimension, biased variance, affine
// (Ba et al. 2016; spec vit.md section 2).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y = (x - mean) / sqrt(var + eps) * gamma + beta.
// x [..., C] f32 or bf16; gamma, beta [C] f32; y [..., C] in `out` (f32 or bf16). Statistics in f32.
// Throws if C differs or a dtype is not as stated.
Var layer_norm(const Var& x, const Var& gamma, const Var& beta, float eps, DType out);

}  // namespace tessera
