// The contract of patchify's halves. images [B,C,H,W], tokens [B,K,C*patch_h*patch_w], keep [B,K] i32 or
// undefined (all L in order).
#pragma once

#include "engine/tensor.h"

namespace tessera {

// Where pixel (channel c, row i, column j) of a patch stands in its token.
enum class PatchOrder {
  channel_first,  // (c * patch_h + i) * patch_w + j: what the patch embedding's weight [D,C,ph,pw] consumes
  channel_last,   // (i * patch_w + j) * C + c: MAE's targets
};

struct Patches {
  int64_t height, width;  // of one patch
  PatchOrder order;
};

struct PatchifyKernels {
  // tokens = the patches of images; each f32 or bf16.
  void (*to_tokens)(const Tensor& tokens, const Tensor& images, const Patches& patches, const Tensor& keep);
  // images = the tokens put back; with keep, zero where no token comes from, and the sum where several do.
  void (*to_images)(const Tensor& images, const Tensor& tokens, const Patches& patches, const Tensor& keep);
};

extern const PatchifyKernels patchify_cpu;

}  // namespace tessera
