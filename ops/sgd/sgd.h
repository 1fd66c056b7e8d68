// Stochastic gradient descent with momentum on flat slabs, in PyTorch's form (spec evaluation.md section 6).
#pragma once

#include "ops/sgd/kernels.h"

namespace tessera {

// With lr = state[kLr] * segment.lr_scale:
//   g = state[kClip] * grad + weight_decay p;  u = momentum u + g;  p -= lr (nesterov ? g + momentum u : u)
// The buffer starts at zero, so the first u is g. master, grad, momentum_buffer [n] f32; compute_copy [n]
// bf16 or undefined. Counts state[kStep]; state[kSkip] not 0: no change. grad is only read.
// Throws on other shapes or dtypes, or segments out of order or range.
void sgd(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer, const Tensor& compute_copy,
         std::span<const Segment> segments, const Tensor& state, const SgdOptions& options);

}  // namespace tessera
