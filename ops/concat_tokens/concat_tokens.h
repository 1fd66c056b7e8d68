// Two runs of tokens one after the other: a class token before the patches, and the like.
#pragma once

#include "autograd/var.h"

namespace tessera {

// y[i] = a[i] followed by b[i] along dimension 1. a [B,M,C], b [B,N,C]; either may be [1,...] and is then
// repeated for every sample; each f32 or bf16; y [B,M+N,C], f32 if either is. The gradient of a repeated one
// is summed over the batch, in order, in f32. Throws if batch or C do not agree or a dtype is another.
Var concat_tokens(const Var& a, const Var& b);

}  // namespace tessera
