// The contract of slice_tokens' halves. x [B,N,C], y [B,M,C] of one dtype, f32 or bf16; begin + M <= N.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct SliceTokensKernels {
  void (*forward)(const Tensor& y, const Tensor& x, int64_t begin);
  // dx = or += (accumulate) dy at tokens [begin, begin + M), 0 elsewhere.
  void (*backward)(const Tensor& dx, bool accumulate, const Tensor& dy, int64_t begin);
};

extern const SliceTokensKernels slice_tokens_cpu;

}  // namespace tessera
