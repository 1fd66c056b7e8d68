// MAE pre-training as a recipe: its configuration, its loss on a batch, its picture.
#pragma once

#include <vector>

#include "recipes/mae/mae.h"
#include "recipes/trainer/recipe.h"
#include "recipes/trainer/settings.h"

namespace tessera {

struct MaeModelSettings {
  std::string name = "vit_base_patch16";
  int64_t patch = 16, dim = 768, depth = 12, decoder_dim = 512, decoder_depth = 8;
  int heads = 12, decoder_heads = 16;
  double mlp_ratio = 4, mask_ratio = 0.75;
  bool normalize_target = true;

  template <class V> void fields(V& v) {
    v("name", name, "what checkpoints call this model");
    v("patch", patch, Range{1, 65500}, "side of a patch, pixels");
    v("dim", dim, Range{4, 131072}, "encoder width; divisible by 4 and by heads");
    v("depth", depth, Range{1, 1000}, "encoder blocks");
    v("heads", heads, Range{1, 131072}, "encoder attention heads");
    v("mlp_ratio", mlp_ratio, Range{0, 64, true}, "hidden width of the MLP over the width");
    v("decoder_dim", decoder_dim, Range{4, 131072}, "decoder width; divisible by 4 and by decoder_heads");
    v("decoder_depth", decoder_depth, Range{1, 1000}, "decoder blocks");
    v("decoder_heads", decoder_heads, Range{1, 131072}, "decoder attention heads");
    v("mask_ratio", mask_ratio, Range{0, 1, true, true}, "share of patches hidden");
    v("normalize_target", normalize_target, "each target patch to zero mean and unit variance");
  }
};

struct MaeSettings {
  MaeModelSettings model;
  DataSettings data;
  OptimSettings optim;
  TrainSettings train;

  template <class V> void fields(V& v) {
    v("model", model);
    v("data", data);
    v("optim", optim);
    v("train", train);
  }
  MaeConfig network() const;
};

class MaePretrain final : public Recipe {
 public:
  explicit MaePretrain(const MaeSettings& settings);

  ParamStore& params() override { return store_; }
  Var loss(const Batch& batch, const Step& step) override;
  CheckpointInfo describe() const override;
  // Rows of original, masked, prediction, paste, for the first pictures of the batch.
  std::optional<Picture> picture(const Batch& batch, const Step& step) override {
    return picture(batch, step, 8);
  }
  std::optional<Picture> picture(const Batch& batch, const Step& step, int64_t at_most);
  double multiply_adds() const override;

 private:
  Tensor noise(const Batch& batch, const Step& step) const;

  MaeSettings settings_;
  std::vector<float> mean_, std_;
  ParamStore store_;
  Mae mae_;
};

// The panel of `picture` for given images [B, C, H, W], normalised by mean and std, and masking.
Picture reconstruction(const Mae& mae, const Tensor& images, const Masking& masking,
                       const std::vector<float>& mean, const std::vector<float>& std, int zoom);

}  // namespace tessera
