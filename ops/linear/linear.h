// Affine map of the last dimension: every dense layer, projection and head (spec vit.md section 2).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y = x wᵀ + bias.  x [..., K], w [N, K] of one dtype (f32 or bf16), bias [N] f32 or undefined,
// y [..., N] in `out`: x's dtype, or f32 where x is bf16 (predictions and logits). Sums in f32.
// Throws if anything does not fit.
Var linear(const Var& x, const Var& w, const Var& bias, DType out);
// The same with y in x's dtype.
Var linear(const Var& x, const Var& w, const Var& bias);

}  // namespace tessera
