// AdamW on flat slabs (Loshchilov & Hutter 2019; PyTorch's formula; spec mae.md section 4): every parameter
// in one pass.
#pragma once

#include "ops/adamw/kernels.h"

namespace tessera {

// With t = state[kStep] + 1, lr = state[kLr] * segment.lr_scale, g = state[kClip] * grad:
//   p -= lr wd p;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
// master, grad, exp_avg, exp_avg_sq [n] f32; compute_copy [n] bf16 receives the new master, or is undefined.
// Then t is stored in state[kStep]. If state[kSkip] is not 0 nothing changes. grad is only read. Bias
// corrections in double, the rest in f32. Throws on other shapes or dtypes, or segments out of order or
// range. Whoever owns the slabs must say that they changed.
void adamw(const Tensor& master, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
           const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
           const AdamWOptions& options);

}  // namespace tessera
