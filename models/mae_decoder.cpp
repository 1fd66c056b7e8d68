#include "models/mae_decoder.h"

#include "engine/check.h"
#include "models/position.h"
#include "ops/add/add.h"
#include "ops/fill_tokens/fill_tokens.h"
#include "ops/gather_tokens/gather_tokens.h"
#include "ops/slice_tokens/slice_tokens.h"

namespace tessera {
namespace {

Init xavier(int64_t in, int64_t out) { return weight_init(WeightInit::xavier, in, out); }

std::deque<Block> make_blocks(Scope s, const MaeDecoderConfig& c, const VitConfig& e) {
  std::deque<Block> blocks;
  for (int64_t i = 0; i < c.depth; ++i) {
    blocks.emplace_back(s / "decoder_blocks" / i, i, c.dim, c.heads, e.mlp_ratio, e.eps, 0.0,
                        WeightInit::xavier);
  }
  return blocks;
}

// Patch numbers as positions in a sequence that starts with the class token.
Tensor after_class_token(const Tensor& rows) {
  const Tensor ids(rows.shape(), DType::i32);
  const int32_t* from = rows.data<int32_t>();
  int32_t* to = ids.data<int32_t>();
  for (int64_t i = 0; i < rows.numel(); ++i) to[i] = from[i] + 1;
  return ids;
}

// The decoder is a ViT's blocks: the same sizes are possible.
const MaeDecoderConfig& valid(const MaeDecoderConfig& c, VitConfig like) {
  like.dim = c.dim;
  like.depth = c.depth;
  like.heads = c.heads;
  try {
    require_valid(like);
  } catch (const Error& e) {
    fail(e.kind(), "decoder {}", e.what());
  }
  return c;
}

}  // namespace

MaeDecoder::MaeDecoder(Scope s, const MaeDecoderConfig& c, const VitConfig& e)
    : patches_((valid(c, e), e.patches())),
      mask_token_(s.param("mask_token", {1, 1, c.dim}, Init::gaussian(0.02), Decay::yes, Use::vector)),
      pos_embed_(s.buffer("decoder_pos_embed", {1, e.patches() + 1, c.dim}, Init::from([c, e](float* out) {
                            sincos_2d(out, c.dim, e.grid_h(), e.grid_w(), 1);
                          }))),
      embed_(s / "decoder_embed", e.dim, c.dim, xavier(e.dim, c.dim)),
      blocks_(make_blocks(s, c, e)),
      norm_(s / "decoder_norm", c.dim, e.eps),
      pred_(s / "decoder_pred", c.dim, e.patch_values(), xavier(c.dim, e.patch_values())) {}

Var MaeDecoder::operator()(const Var& latent, const Tensor& restore, const Tensor& rows,
                           const Pass& pass) const {
  TS_CHECK(restore.rank() == 2 && restore.dim(1) == patches_, "mae decoder: restore is {}, wanted [B, {}]",
           restore.shape().str(), patches_);
  Var x = add(fill_tokens(embed_(latent), mask_token_, restore, 1), pos_embed_);
  x = run_blocks(blocks_, x, pass);
  // The norm and the prediction act on each token alone: rows nobody asked for are dropped before them.
  x = rows.defined() ? gather_tokens(x, after_class_token(rows)) : slice_tokens(x, 1, patches_ + 1);
  return pred_(norm_(x));
}

}  // namespace tessera
