// The contract of fill_tokens' halves. visible [B, prefix+K, C] and y [B, prefix+L, C] of one dtype, f32 or
// bf16; token [C] f32; ids_restore [B, L] i32. prefix = y.dim(1) - L.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct FillTokensKernels {
  // Throws if a row of ids_restore is no permutation.
  void (*forward)(const Tensor& y, const Tensor& visible, const Tensor& token, const Tensor& ids_restore);
  // dvisible = or += (accumulate) the rows of dy that came from it.
  void (*visible_gradient)(const Tensor& dvisible, bool accumulate, const Tensor& dy,
                           const Tensor& ids_restore);
  // dtoken = or += (accumulate) the sum of dy over the places with ids_restore >= visible_count (K).
  void (*token_gradient)(const Tensor& dtoken, bool accumulate, const Tensor& dy, const Tensor& ids_restore,
                         int64_t visible_count);
};

extern const FillTokensKernels fill_tokens_cpu;

}  // namespace tessera
