// A pre-trained (or random, or no) encoder as a feature extractor: what kNN and linear probing measure.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "models/vit.h"
#include "recipes/trainer/checkpoint.h"
#include "recipes/trainer/settings.h"

namespace tessera {

// Writes what is needed to build a ViT encoder again into a checkpoint's description, and reads it back.
// Throws Error(checkpoint) naming what is missing.
void describe_encoder(const VitConfig& config, CheckpointInfo& info);
VitConfig described_encoder(const CheckpointInfo& info, const std::string& path);

class Encoder {
 public:
  // RUN: a run folder, a step folder or a checkpoint file, with its weights. "random:RUN": the same encoder
  // with fresh weights (`seed`). "raw:RUN": pixels, sized and normalised as that run's. "raw": pixels as the
  // caller says.
  Encoder(const std::string& spec, Precision precision, uint64_t seed);

  bool raw() const { return vit_ == nullptr; }
  // Size of the pictures and their normalisation, as trained; raw pixels take the caller's.
  const CheckpointInfo& info() const { return info_; }
  const VitConfig& config() const { return config_; }

  // images [B, C, H, W] f32, normalised -> [B, D] f32: class token or mean of the patch tokens after the last
  // norm; raw: the pixels in order.
  Tensor features(const Tensor& images, Pool pool) const;

 private:
  CheckpointInfo info_;
  VitConfig config_;
  std::unique_ptr<ParamStore> store_;
  std::unique_ptr<Vit> vit_;
};

struct FeatureSet {
  Tensor features;              // [N, D] f32
  std::vector<int32_t> labels;  // [N]
  int classes = 0;
};

// Features of every sample of `source`, each once, in order, with the transform given (no shuffling).
// mean and std normalise the pictures. Throws Error(data) when the source has no labels.
FeatureSet extract_features(const Encoder& encoder, Pool pool, const std::string& source,
                            const TransformOptions& transform, const std::vector<float>& mean,
                            const std::vector<float>& std, int64_t batch, int workers);

}  // namespace tessera
