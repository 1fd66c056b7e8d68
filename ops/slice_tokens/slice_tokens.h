// A run of tokens of every sample: the class token, or all but it.
#pragma once

#include <cstdint>

#include "autograd/var.h"

namespace tessera {

// y[b] = x[b, begin:end]. x [B,N,C] f32 or bf16; y [B,end-begin,C] like x. Throws unless 0 <= begin < end <=
// N, or on another dtype.
Var slice_tokens(const Var& x, int64_t begin, int64_t end);

}  // namespace tessera
