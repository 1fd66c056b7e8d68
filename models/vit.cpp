#include "models/vit.h"

#include <algorithm>

#include "engine/check.h"
#include "models/position.h"
#include "ops/add/add.h"
#include "ops/concat_tokens/concat_tokens.h"
#include "ops/gather_tokens/gather_tokens.h"
#include "ops/mean_tokens/mean_tokens.h"
#include "ops/residual/residual.h"
#include "ops/slice_tokens/slice_tokens.h"

namespace tessera {
namespace {

VitConfig sized(int64_t patch, int64_t dim, int64_t depth, int heads) {
  VitConfig c;
  c.patch_h = c.patch_w = patch;
  c.dim = dim;
  c.depth = depth;
  c.heads = heads;
  return c;
}

Param& position_param(Scope s, const VitConfig& c, const VitOptions& o) {
  const Shape shape = {1, c.patches() + 1, c.dim};
  if (!o.fixed_positions)
    return s.param("pos_embed", shape, Init::gaussian(0.02), o.decay_tokens, Use::vector);
  if (c.dim % 4 != 0)
    fail(ErrorKind::config, "model: sine-cosine positions need a width divisible by 4, got {}", c.dim);
  const auto table = [c](float* out) { sincos_2d(out, c.dim, c.grid_h(), c.grid_w(), 1); };
  return s.buffer("pos_embed", shape, Init::from(table));
}

}  // namespace

VitConfig vit_tiny() { return sized(16, 192, 12, 3); }
VitConfig vit_small() { return sized(16, 384, 12, 6); }
VitConfig vit_base() { return sized(16, 768, 12, 12); }
VitConfig vit_large() { return sized(16, 1024, 24, 16); }
VitConfig vit_huge() { return sized(14, 1280, 32, 16); }

double block_multiply_adds(int64_t depth, int64_t dim, double mlp_ratio, int64_t tokens) {
  const auto n = static_cast<double>(tokens), d = static_cast<double>(dim);
  return static_cast<double>(depth) * ((4 + 2 * mlp_ratio) * n * d * d + 2 * n * n * d);
}

void require_valid(const VitConfig& c) {
  // Far above any model, and low enough that no product of them overflows and no loop over them hangs.
  const auto within = [](const char* what, int64_t n, int64_t most) {
    if (n < 1 || n > most) fail(ErrorKind::config, "model: {} is {}, must be 1 to {}", what, n, most);
  };
  within("image height", c.image_h, 65'500);
  within("image width", c.image_w, 65'500);
  within("patch height", c.patch_h, 65'500);
  within("patch width", c.patch_w, 65'500);
  within("channels", c.channels, 1024);
  within("dim", c.dim, 1 << 17);
  within("depth", c.depth, 1000);
  within("heads", c.heads, 1 << 17);
  if (!(c.mlp_ratio > 0 && c.mlp_ratio <= 64) || static_cast<double>(c.dim) * c.mlp_ratio < 1) {
    fail(ErrorKind::config, "model: mlp_ratio is {}, must be above 0, at most 64, and leave a hidden width",
         c.mlp_ratio);
  }
  if (c.image_h % c.patch_h != 0 || c.image_w % c.patch_w != 0) {
    fail(ErrorKind::config,
         "model: image {}x{} is not a multiple of the patch {}x{}; change the image size or the patch",
         c.image_h, c.image_w, c.patch_h, c.patch_w);
  }
  if (c.dim % c.heads != 0)
    fail(ErrorKind::config, "model: dim {} is not divisible by {} heads", c.dim, c.heads);
  if (!(c.drop_path >= 0 && c.drop_path < 1)) {
    fail(ErrorKind::config, "model: drop_path {} is not in [0, 1)", c.drop_path);
  }
}

// Scopes carry layer ids for layer-wise rates: embedding 0, block i at i + 1, what follows depth + 1 (vit.md
// section 5).
Vit::Vit(Scope s, const VitConfig& c, const VitOptions& o)
    : config_((require_valid(c), c)),
      cls_token_(s.param("cls_token", {1, 1, c.dim}, Init::gaussian(0.02), o.decay_tokens, Use::vector)),
      pos_embed_(position_param(s, c, o)),
      patch_embed_(s / "patch_embed", c.channels, c.patch_h, c.patch_w, c.dim, o.init) {
  for (int64_t i = 0; i < c.depth; ++i) {
    const double rate = c.depth > 1 ? c.drop_path * static_cast<double>(i) / static_cast<double>(c.depth - 1)
                                    : 0;
    const Scope at = s.at_depth(static_cast<int>(i) + 1) / "blocks" / i;
    blocks_.emplace_back(at, i, c.dim, c.heads, c.mlp_ratio, c.eps, rate, o.init);
  }
  if (o.final_norm) norm_.emplace(s.at_depth(static_cast<int>(c.depth) + 1) / "norm", c.dim, c.eps);
}

Var Vit::operator()(const Tensor& images, const Tensor& keep, const Pass& pass) const {
  const VitConfig& c = config_;
  const Shape wanted = {images.rank() > 0 ? images.dim(0) : 0, c.channels, c.image_h, c.image_w};
  TS_CHECK(images.shape() == wanted, "vit: images are {}, wanted {}", images.shape().str(), wanted.str());
  const Var patches = patch_embed_(images, keep);
  Var x;
  if (keep.defined()) {
    TS_CHECK(!pos_embed_.trained, "vit: a list of kept patches needs fixed positions");
    const Tensor slots = pos_embed_.master.reshape({c.patches() + 1, c.dim});
    const Tensor patch_slots = slots.slice(1, c.patches() + 1).reshape({1, c.patches(), c.dim});
    const Var placed = residual(gather_tokens(Var(patch_slots), keep), patches, Tensor());
    x = concat_tokens(add(cls_token_, Var(slots.slice(0, 1).reshape({1, 1, c.dim}))), placed);
  } else {
    x = add(concat_tokens(cls_token_, patches), pos_embed_);
  }
  x = run_blocks(blocks_, x, pass);
  return norm_ ? (*norm_)(x) : x;
}

VitClassifier::VitClassifier(Scope s, const VitConfig& c, int64_t classes, Pool pool, double head_std)
    : pool_(pool),
      vit_(s, c,
           {.fixed_positions = false,
            .final_norm = pool == Pool::class_token,
            .decay_tokens = Decay::no,
            .init = WeightInit::normal02}),
      head_(s.at_depth(static_cast<int>(c.depth) + 1) / "head", c.dim, classes, Init::gaussian(head_std)) {
  if (pool == Pool::mean)
    fc_norm_.emplace(s.at_depth(static_cast<int>(c.depth) + 1) / "fc_norm", c.dim, c.eps);
}

Var VitClassifier::operator()(const Tensor& images, const Pass& pass) const {
  const Var x = vit_(images, {}, pass);
  const Var pooled = pool_ == Pool::mean ? (*fc_norm_)(mean_tokens(x, 1))
                                         : slice_tokens(x, 0, 1).reshape({x.dim(0), x.dim(2)});
  return head_(pooled, DType::f32);
}

}  // namespace tessera
