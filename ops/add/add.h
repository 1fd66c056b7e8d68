// Sum of two tensors, the second broadcast over the batch if it has one sample: position tables and the like.
#pragma once

#include "autograd/var.h"

namespace tessera {

// y = x + p. x [B, ...]; p of x's shape, or [1, ...] and added to every sample; each f32 or bf16; y of x's
// shape, f32 if either is. The gradient of a broadcast p is summed over the batch, in order, in f32. Throws
// if the shapes do not agree or a dtype is another.
Var add(const Var& x, const Var& p);

}  // namespace tessera
