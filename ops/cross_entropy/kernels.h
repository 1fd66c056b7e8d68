// The contract of cross_entropy's halves. Target is i32 [B] or f32 [B,K]; the op has checked shapes.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct CrossEntropyKernels {
  // loss [1] f32. stats [B,2] f32: a row's largest logit, and the log of the sum of exp(logit - largest);
  // kept apart because their sum would lose digits when logits are large. Throws on a label outside [0,K).
  void (*forward)(const Tensor& loss, const Tensor& stats, const Tensor& logits, const Tensor& target,
                  float smoothing);
  // dlogits = dy / B * (softmax * sum(t) - t), of logits' dtype, overwritten; dy [1] f32.
  void (*backward)(const Tensor& dlogits, const Tensor& dy, const Tensor& stats, const Tensor& logits,
                   const Tensor& target, float smoothing);
};

extern const CrossEntropyKernels cross_entropy_cpu;

}  // namespace tessera
