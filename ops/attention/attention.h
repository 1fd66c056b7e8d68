// Multi-head self-attention, fused: no N x N matrix is kept (spec vit.md section 2;
// Dao et al. 2022 for the recomputation).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y = softmax(scale q kᵀ) v for every image and head; softmax over keys, heads side by side in y.
// qkv [B, N, 3*H*D] f32 or bf16:
// element s*H*D + head*D + j of a token is component j of its q, k or v (s = 0, 1, 2).
// y [B, N, H*D] of qkv's dtype. Any D >= 1 and N >= 1; heads = H. scale > 0, usually D^-1/2.
// Statistics are f32, sums too;
// under bf16 the probabilities are rounded to bf16 before they meet v.
// Memory beyond y: the log-sum-exp [B, H, N] f32, and O(N) scratch per thread.
// Backward recomputes the probabilities.
// Throws if qkv isn't [B, N, 3*H*D], is no float type, or heads or scale isn't positive.
Var attention(const Var& qkv, int heads, float scale);

}  // namespace tessera
