// The plain vision transformer (spec vit.md): encoder of MAE and HPM, and classifier.
#pragma once

#include <deque>
#include <optional>

#include "models/layers.h"

namespace tessera {

struct VitConfig {
  int64_t image_h = 224, image_w = 224;
  int64_t patch_h = 16, patch_w = 16;
  int64_t channels = 3;
  int64_t dim = 768, depth = 12;
  int heads = 12;
  double mlp_ratio = 4;
  float eps = 1e-6f;     // of every LayerNorm
  double drop_path = 0;  // rate of the last block; block i has rate * i / (depth - 1)

  int64_t grid_h() const { return image_h / patch_h; }
  int64_t grid_w() const { return image_w / patch_w; }
  int64_t patches() const { return grid_h() * grid_w(); }
  int64_t patch_values() const { return channels * patch_h * patch_w; }
};

// Sizes of spec vit.md section 1. vit_tiny (192 wide, 12 deep, 3 heads, patch 16) is DeiT's, for trying
// things out.
VitConfig vit_tiny();
VitConfig vit_small();
VitConfig vit_base();
VitConfig vit_large();
VitConfig vit_huge();

// Multiply-adds of `depth` blocks of width `dim` over n tokens (spec mae.md section 1, closed form).
double block_multiply_adds(int64_t depth, int64_t dim, double mlp_ratio, int64_t n);

// Throws Error(config) naming the size when sizes do not fit together (image not a multiple of the patch,
// ...).
void require_valid(const VitConfig& config);

// What differs between the models that share this encoder.
struct VitOptions {
  bool fixed_positions = true;  // sine-cosine table, not trained; else trained, starting as N(0, 0.02^2)
  bool final_norm = true;       // LayerNorm `norm` over the sequence
  Decay decay_tokens = Decay::
      yes;  // of cls_token and a trained pos_embed: yes in MAE pre-training, no in fine-tuning
  WeightInit init = WeightInit::xavier;
};

class Vit {
 public:
  Vit(Scope s, const VitConfig& config, const VitOptions& options = {});

  // images [B, C, H, W] f32, normalised -> [B, 1 + K, dim]: class token, then patches. With keep [B, K] i32
  // only those patches, in that order (fixed positions only); else all. In the compute dtype after the final
  // norm, else f32.
  Var operator()(const Tensor& images, const Tensor& keep, const Pass& pass) const;

  const VitConfig& config() const { return config_; }

 private:
  VitConfig config_;
  Param& cls_token_;
  Param& pos_embed_;
  PatchEmbed patch_embed_;
  std::deque<Block> blocks_;
  std::optional<LayerNorm> norm_;
};

// How a sequence becomes one vector.
enum class Pool { class_token, mean };  // mean: of the patch tokens, class token excluded

// Classification (spec vit.md section 4). mean: pooled, then its own norm fc_norm; class_token: row 0 after
// `norm`.
class VitClassifier {
 public:
  VitClassifier(Scope s, const VitConfig& config, int64_t classes, Pool pool, double head_std = 0.02);

  // images [B, C, H, W] f32 -> logits [B, classes] f32.
  Var operator()(const Tensor& images, const Pass& pass) const;

 private:
  Pool pool_;
  Vit vit_;
  Linear head_;
  std::optional<LayerNorm> fc_norm_;
};

}  // namespace tessera
