// patchify and unpatchify: checks and gradients; each is the other's backward.
#include "ops/patchify/patchify.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"

namespace tessera {
namespace {

void check_divides(const char* op, int64_t height, int64_t width, int patch_h, int patch_w) {
  TS_CHECK(patch_h >= 1 && patch_w >= 1 && height >= 1 && width >= 1 && height % patch_h == 0 &&
               width % patch_w == 0,
           "{}: a picture of {}x{} is no whole number of {}x{} patches; choose another picture or patch size",
           op, height, width, patch_h, patch_w);
}

}  // namespace

Var patchify(const Var& images, int patch_h, int patch_w, PatchOrder order, DType out, const Tensor& keep) {
  TS_CHECK(images.rank() == 4, "patchify: images are {}, wanted [B, C, H, W]", images.shape().str());
  TS_CHECK(is_float(images.dtype()) && is_float(out),
           "patchify: images are {} and tokens to be {}; both must be f32 or bf16", name(images.dtype()),
           name(out));
  const int64_t batch = images.dim(0), channels = images.dim(1), height = images.dim(2),
                width = images.dim(3);
  check_divides("patchify", height, width, patch_h, patch_w);
  TS_CHECK(!keep.defined() || (keep.rank() == 2 && keep.dim(0) == batch && keep.dtype() == DType::i32),
           "patchify: keep is {} {}, wanted [{}, K] i32", keep.shape().str(), name(keep.dtype()), batch);

  const PatchifyKernels& half = half_on(images.device(), patchify_cpu);
  const Patches patches{patch_h, patch_w, order};
  const int64_t count = keep.defined() ? keep.dim(1) : (height / patch_h) * (width / patch_w);
  const Tensor tokens({batch, count, channels * patch_h * patch_w}, out, images.device());
  {
    const ProfileScope scope("patchify forward", tokens.bytes() + tokens.numel() * size_of(images.dtype()));
    half.to_tokens(tokens, images.value(), patches, keep);
  }
  return Tape::record("patchify", {images}, tokens, [&half, patches, keep](const Tensor& dy, Grads& dx) {
    if (!dx[0].wanted()) return;
    const Tensor d = dx[0].overwrite();
    const ProfileScope scope("patchify backward", bytes_of(d, dy));
    half.to_images(d, dy, patches, keep);
  });
}

Var unpatchify(const Var& tokens, PatchOrder order, int64_t channels, int64_t height, int64_t width,
               int patch_h, int patch_w) {
  TS_CHECK(is_float(tokens.dtype()), "unpatchify: tokens are {}; they must be f32 or bf16",
           name(tokens.dtype()));
  check_divides("unpatchify", height, width, patch_h, patch_w);
  const int64_t count = (height / patch_h) * (width / patch_w), wide = channels * patch_h * patch_w;
  TS_CHECK(tokens.rank() == 3 && tokens.dim(1) == count && tokens.dim(2) == wide,
           "unpatchify: tokens are {}, wanted [B, {}, {}] for {} channels of {}x{} in {}x{} patches",
           tokens.shape().str(), count, wide, channels, height, width, patch_h, patch_w);

  const PatchifyKernels& half = half_on(tokens.device(), patchify_cpu);
  const Patches patches{patch_h, patch_w, order};
  const Tensor images({tokens.dim(0), channels, height, width}, tokens.dtype(), tokens.device());
  {
    const ProfileScope scope("unpatchify forward", bytes_of(images, tokens.value()));
    half.to_images(images, tokens.value(), patches, Tensor());
  }
  return Tape::record("unpatchify", {tokens}, images, [&half, patches](const Tensor& dy, Grads& dx) {
    if (!dx[0].wanted()) return;
    const Tensor d = dx[0].overwrite();
    const ProfileScope scope("unpatchify backward", bytes_of(d, dy));
    half.to_tokens(d, dy, patches, Tensor());
  });
}

}  // namespace tessera
