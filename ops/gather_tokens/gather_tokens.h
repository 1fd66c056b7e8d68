// Chosen tokens in a chosen order: what an encoder sees of a masked picture (spec mae.md section 2.4).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y[b, k] = x[b, ids[b, k]]. x [B,N,C], or [1,N,C] read by every sample; f32 or bf16; ids [B,K] i32, repeats
// allowed; y [B,K,C] like x. The gradient of a token is the sum, in order and in f32, over the places that
// took it; zero where none did. Throws if a shape or dtype differs or an index is out of range.
Var gather_tokens(const Var& x, const Tensor& ids);

}  // namespace tessera
