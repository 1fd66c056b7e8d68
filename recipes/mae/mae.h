// MAE pre-training (He et al. 2021; spec mae.md): hide most patches, encode the rest, predict the pixels of
// the hidden.
#pragma once

#include "models/mae_decoder.h"
#include "models/vit.h"

namespace tessera {

struct MaeConfig {
  VitConfig encoder;
  MaeDecoderConfig decoder;
  double mask_ratio = 0.75;
  bool normalize_target = true;  // each target patch to zero mean and unit variance
};

// Which patches an encoder sees, from noise [B, L]: the K = trunc(L * (1 - ratio)) of lowest noise (spec
// mae.md 2.4).
struct Masking {
  Tensor keep;     // [B, K] i32, in the order of the noise
  Tensor hidden;   // [B, L - K] i32, likewise
  Tensor restore;  // [B, L] i32: rank of each patch
};
Masking mask_by_noise(const Tensor& noise, int64_t kept);

class Mae {
 public:
  // Creates all parameters in `s`, named as the official state dict names them.
  Mae(Scope s, const MaeConfig& config);

  // images [B, C, H, W] f32, normalised; noise [B, L] f32. Mean squared error over the hidden patches, [1]
  // f32.
  Var loss(const Tensor& images, const Tensor& noise, const Pass& pass) const;

  // Predictions for every patch, visible ones too: [B, L, patch values], channel-last, in the compute dtype.
  Var predict(const Tensor& images, const Masking& masking, const Pass& pass) const;
  // Encoder output [B, 1 + K, dim] after the final norm; all patches if `keep` is undefined.
  Var encode(const Tensor& images, const Tensor& keep, const Pass& pass) const {
    return encoder_(images, keep, pass);
  }
  // What the predictions aim at, [B, R, patch values] f32, for the patches in `rows` [B, R] (undefined: all).
  Tensor target(const Tensor& images, const Tensor& rows) const;

  int64_t kept() const;
  const MaeConfig& config() const { return config_; }

 private:
  MaeConfig config_;
  Vit encoder_;
  MaeDecoder decoder_;
};

}  // namespace tessera
