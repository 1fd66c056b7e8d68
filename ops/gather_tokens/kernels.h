// The contract of gather_tokens' halves. x [B or 1, N, C] f32 or bf16, ids [B,K] i32, y [B,K,C] of x's dtype.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct GatherTokensKernels {
  // Throws if an index is outside [0, N).
  void (*forward)(const Tensor& y, const Tensor& x, const Tensor& ids);
  // dx = or += (accumulate) the sum over the places that took each token, in order.
  void (*backward)(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& ids);
};

extern const GatherTokensKernels gather_tokens_cpu;

}  // namespace tessera
