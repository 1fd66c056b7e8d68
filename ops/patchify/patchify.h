// Pictures to rows of patches and back (spec mae.md sections 2.1 and 2.3). Patch n = r * (W / patch_w) + c,
// row-major.
#pragma once

#include "autograd/var.h"
#include "ops/patchify/kernels.h"

namespace tessera {

// images [B,C,H,W] f32 or bf16 -> [B, L, C * patch_h * patch_w] in `out` (f32 or bf16), L = (H / patch_h) *
// (W / patch_w). keep [B,K] i32: only those patches, in that order -> [B, K, ...]. The gradient goes back to
// where a number came from, zero elsewhere. Throws if the patch does not divide the picture, a kept index is
// out of range, or a dtype is another.
Var patchify(const Var& images, int patch_h, int patch_w, PatchOrder order, DType out,
             const Tensor& keep = {});

// The inverse: tokens [B, (H / patch_h) * (W / patch_w), C * patch_h * patch_w] f32 or bf16 -> [B,C,H,W] of
// the same dtype. Throws if the sizes do not agree.
Var unpatchify(const Var& tokens, PatchOrder order, int64_t channels, int64_t height, int64_t width,
               int patch_h, int patch_w);

}  // namespace tessera
