// Global L2 norm of the gradient slab, and what follows from it for the update: clip factor and skip flag.
#pragma once

#include <span>

#include "engine/tensor.h"

namespace tessera {

// norm[0] = sqrt(sum(grad^2)). Writes two slots of `state` (engine/slab.h):
//   kClip = min(1, max_norm / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_; max_norm 0: no clipping, 1
//   kSkip = 1 if any element of grad or any of `losses` is not finite (then kClip = 1), else 0
// losses [1] f32 each, what the gradient came from: one may overflow where its gradient does not.
// grad [n] f32, padding zero; norm [1] f32; max_norm >= 0. Sums in double, split by size, in order. Throws on
// other shapes or dtypes.
void grad_norm(const Tensor& norm, const Tensor& grad, double max_norm, const Tensor& state,
               std::span<const Tensor> losses = {});

}  // namespace tessera
