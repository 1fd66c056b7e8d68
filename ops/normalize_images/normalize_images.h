// Pictures from bytes to a network's input: divide by 255, subtract the mean, divide by the deviation (spec
// mae.md section 6).
#pragma once

#include <vector>

#include "engine/tensor.h"

namespace tessera {

// y[b,c,h,w] = (images[b,h,w,c] / 255 - mean[c]) / std[c].
// images [B,H,W,C] u8, pixel-major as decoders give them; y [B,C,H,W] f32; mean and std in units of [0,1], C
// of each. Throws if the rank, the dtype or C differs, or a std is not above zero. No gradient.
Tensor normalize_images(const Tensor& images, const std::vector<float>& mean, const std::vector<float>& std);

}  // namespace tessera
