#include "recipes/mae/mae.h"

#include <algorithm>

#include "data/mask.h"
#include "engine/check.h"
#include "ops/argsort_rows/argsort_rows.h"
#include "ops/masked_mse/masked_mse.h"
#include "ops/normalize_patches/normalize_patches.h"
#include "ops/patchify/patchify.h"

namespace tessera {

Masking mask_by_noise(const Tensor& noise, int64_t kept) {
  const Order order = argsort_rows(noise);
  const int64_t b = noise.dim(0), l = noise.dim(1);
  TS_CHECK(kept >= 1 && kept < l, "mask: {} of {} patches kept; at least one must be kept and one hidden",
           kept, l);
  const Masking m{Tensor({b, kept}, DType::i32), Tensor({b, l - kept}, DType::i32), order.restore};
  const int32_t* shuffle = order.shuffle.data<int32_t>();
  for (int64_t i = 0; i < b; ++i) {
    const int32_t* row = shuffle + i * l;
    std::copy(row, row + kept, m.keep.data<int32_t>() + i * kept);
    std::copy(row + kept, row + l, m.hidden.data<int32_t>() + i * (l - kept));
  }
  return m;
}

Mae::Mae(Scope s, const MaeConfig& config)
    : config_(config), encoder_(s, config.encoder), decoder_(s, config.decoder, config.encoder) {
  kept();  // refuses a ratio that keeps or hides nothing before anything runs
}

int64_t Mae::kept() const { return tessera::kept(config_.encoder.patches(), config_.mask_ratio); }

Tensor Mae::target(const Tensor& images, const Tensor& rows) const {
  const VitConfig& e = config_.encoder;
  const Tensor pixels = patchify(Var(images), static_cast<int>(e.patch_h), static_cast<int>(e.patch_w),
                                 PatchOrder::channel_last, DType::f32, rows)
                            .value();
  return config_.normalize_target ? normalize_patches(pixels) : pixels;
}

Var Mae::loss(const Tensor& images, const Tensor& noise, const Pass& pass) const {
  const Masking m = mask_by_noise(noise, kept());
  const Var pred = decoder_(encode(images, m.keep, pass), m.restore, m.hidden, pass);
  return masked_mse(pred, target(images, m.hidden), {});
}

Var Mae::predict(const Tensor& images, const Masking& m, const Pass& pass) const {
  return decoder_(encode(images, m.keep, pass), m.restore, {}, pass);
}

}  // namespace tessera
