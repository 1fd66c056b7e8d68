// The mean over tokens, without the leading ones: global pooling (spec vit.md).
#pragma once

#include <cstdint>

#include "autograd/var.h"

namespace tessera {

// y[b] = the mean of x[b, n] over n in [first, N). x [B,N,C] f32 or bf16; y [B,C] like x, summed in f32.
// Throws unless 0 <= first < N, or on another dtype.
Var mean_tokens(const Var& x, int64_t first);

}  // namespace tessera
