// The light decoder of masked autoencoders: mask tokens fill the hidden places, a few blocks, a linear layer
// to pixels (spec mae.md section 2.5). Shared by MAE, UM-MAE and HPM.
#pragma once

#include <deque>

#include "models/layers.h"
#include "models/vit.h"

namespace tessera {

struct MaeDecoderConfig {
  int64_t dim = 512, depth = 8;
  int heads = 16;
};

class MaeDecoder {
 public:
  MaeDecoder(Scope s, const MaeDecoderConfig& config, const VitConfig& encoder);

  // latent [B, 1 + K, encoder dim]: class token and visible patches in the order of the shuffle. restore [B,
  // L] i32: patch n of the picture is visible patch restore[n] if that is < K, else hidden. rows [B, R] i32:
  // the patches to predict, undefined = all L in order. -> [B, R, patch values], channel-last pixels.
  Var operator()(const Var& latent, const Tensor& restore, const Tensor& rows, const Pass& pass) const;

 private:
  int64_t patches_;
  Param& mask_token_;
  Param& pos_embed_;
  Linear embed_;
  std::deque<Block> blocks_;
  LayerNorm norm_;
  Linear pred_;
};

}  // namespace tessera
