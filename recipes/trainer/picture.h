// Panels for people: tensors back to 8-bit pictures, and pictures side by side.
#pragma once

#include <vector>

#include "data/picture.h"
#include "engine/tensor.h"

namespace tessera {

// images [B, C, H, W] f32, normalised -> picture b of them: x * std + mean, times 255, rounded, clamped.
Picture to_picture(const Tensor& images, int64_t b, const std::vector<float>& mean,
                   const std::vector<float>& std);

// A grid of pictures of one size, `gap` white pixels between them, each enlarged `zoom` times (nearest
// neighbour).
Picture tile(const std::vector<std::vector<Picture>>& rows, int gap = 2, int zoom = 1);

}  // namespace tessera
