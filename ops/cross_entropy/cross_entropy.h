// Softmax cross-entropy with labels or soft targets, mean over the batch (spec evaluation.md section 4).
#pragma once

#include "autograd/var.h"

namespace tessera {

// loss = mean over B of -sum_k t[b,k] log softmax(logits[b])[k].
// logits [B,K] f32 or bf16; target i32 [B], then t is (1 - smoothing) at the label plus smoothing/K
// everywhere; or f32 [B,K], then t is target itself (its rows need not sum to 1) and smoothing must be 0.
// loss [1] f32. Sums in f32, the mean in double. No gradient flows to the target. Throws on other shapes or
// dtypes, a label outside [0,K), smoothing outside [0,1].
Var cross_entropy(const Var& logits, const Tensor& target, float smoothing = 0.0f);

}  // namespace tessera
