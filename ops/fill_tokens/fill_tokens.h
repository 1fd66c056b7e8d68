// Visible tokens back to their places, a learned token at the hidden ones (spec mae.md section 2.5).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y[b, i] = visible[b, i] for i < prefix;
// y[b, prefix + n] = visible[b, prefix + r] if r = ids_restore[b, n] < K, else token.
// visible [B, prefix + K, C] f32 or bf16; token of C elements, f32; ids_restore [B, L] i32, each row a
// permutation of 0..L-1, L >= K; y [B, prefix + L, C] like visible. The gradient of token is summed over all
// filled places in a fixed order.
// Throws if a shape or dtype differs or a row of ids_restore is no permutation.
Var fill_tokens(const Var& visible, const Var& token, const Tensor& ids_restore, int prefix);

}  // namespace tessera
