// The contract of concat_tokens' halves. a [B or 1,M,C], b [B or 1,N,C], y [B,M+N,C]; each f32 or bf16.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct ConcatTokensKernels {
  void (*forward)(const Tensor& y, const Tensor& a, const Tensor& b);
  // d [B or 1,M,C] = or += (accumulate) tokens [begin, begin + M) of dy, summed over the batch where d has 1.
  void (*gradient)(const Tensor& d, bool accumulate, const Tensor& dy, int64_t begin);
};

extern const ConcatTokensKernels concat_tokens_cpu;

}  // namespace tessera
