// The contract of mean_tokens' halves. x [B,N,C], y [B,C] of one dtype, f32 or bf16; 0 <= first < N.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct MeanTokensKernels {
  void (*forward)(const Tensor& y, const Tensor& x, int64_t first);
  // dx = or += (accumulate) dy / (N - first) from token `first` on, 0 before.
  void (*backward)(const Tensor& dx, bool accumulate, const Tensor& dy, int64_t first);
};

extern const MeanTokensKernels mean_tokens_cpu;

}  // namespace tessera
