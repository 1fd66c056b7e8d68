// LARS on flat slabs (You et al. 2017, as in MAE: util/lars.py; spec evaluation.md section 6).
#pragma once

#include "ops/lars/kernels.h"

namespace tessera {

// With lr = state[kLr] * segment.lr_scale, g = state[kClip] * grad, norms over the whole segment:
//   segments with decay (tensors of more than one dimension): g += weight_decay p;
//     g *= trust |p| / |g| if both norms are above 0
//   all: u = momentum u + g;  p -= lr u        (lr outside the buffer: a new lr acts on the whole history)
// master, grad, momentum_buffer [n] f32; compute_copy [n] bf16 or undefined. Counts state[kStep];
// state[kSkip] not 0: no change. grad is only read. Norms in double. Throws on other shapes or dtypes, or
// segments out of order or range.
void lars(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer, const Tensor& compute_copy,
          std::span<const Segment> segments, const Tensor& state, const LarsOptions& options);

}  // namespace tessera
