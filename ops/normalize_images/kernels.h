// The contract of normalize_images' halves.
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct NormalizeImagesKernels {
  // y [B,C,H,W] f32, images [B,H,W,C] u8, table [C,256] f32: what each byte of channel c becomes.
  void (*forward)(const Tensor& y, const Tensor& images, const Tensor& table);
};

extern const NormalizeImagesKernels normalize_images_cpu;

}  // namespace tessera
