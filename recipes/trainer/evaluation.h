// What kNN and linear probing share: one protocol from an encoder and two labelled sources to two sets of
// features.
#pragma once

#include <string>
#include <vector>

#include "recipes/trainer/encoder.h"
#include "recipes/trainer/settings.h"

namespace tessera {

struct EvaluationData {
  std::string train, test;
  int height = 0, width = 0, channels = 0;
  int resize = 0;
  std::vector<double> mean, std;
  int64_t batch = 250;
  int workers = 2;

  template <class V> void fields(V& v) {
    v("train", train, "labelled pictures that vote or train: folder:DIR, list:FILE, idx:IMAGES,LABELS");
    v("test", test, "labelled pictures that are judged");
    v("height", height, Range{0, 65500}, "0 = as the encoder was trained");
    v("width", width, Range{0, 65500}, "0 = as the encoder was trained");
    v("channels", channels, Range{0, 4}, "0 = as the encoder was trained");
    v("resize", resize, Range{0, 65500},
      "shorter side before the centre crop; 0 = 256/224 of the size, none below 64 pixels");
    v("mean", mean, Range{0, 1}, "per channel; [] = as the encoder was trained");
    v("std", std, Range::above(0), "per channel; [] = as the encoder was trained");
    v("batch", batch, Range{1, 1e6}, "pictures of one forward pass");
    v("workers", workers, Range{0, 256}, "decoding threads");
  }
};

struct EvaluationSettings {
  std::string encoder;
  std::string features = "mean";
  std::string precision = "f32";
  int threads = 0;
  int64_t seed = 0;
  EvaluationData data;

  template <class V> void fields(V& v) {
    v("encoder", encoder,
      "RUN (folder, step folder or file); random:RUN, its shape with fresh weights; raw:RUN, its pixels");
    v("features", features, OneOf{"mean", "class_token"},
      "mean of patch tokens, or class token, after the last norm");
    v("precision", precision, OneOf{"f32", "bf16"}, "of the encoder");
    v("threads", threads, Range{0, 1024}, "0 = OMP_NUM_THREADS or all cores");
    v("seed", seed, Range::at_least(0), "of random weights and of the probe");
    v("data", data);
  }
};

// An encoder with the way its pictures are prepared: what a protocol measures.
class Evaluation {
 public:
  // Throws Error(config) for a missing or contradictory setting, Error(checkpoint) for an encoder that cannot
  // be read.
  explicit Evaluation(const EvaluationSettings& settings);

  // Features of every picture of a source, each once, in order. Throws Error(data) when it has no labels.
  FeatureSet features(const std::string& source) const;
  // Features [B, D] f32 of a batch of pictures.
  Tensor features(const Batch& batch) const;
  // Batches of `source` in another order every epoch, with the crops and flips of linear probing
  // (spec evaluation.md 7.1 c).
  std::unique_ptr<Loader> augmented(const std::string& source, int64_t batch) const;

  // "mean of patch tokens, runs/a (mae vit_base_patch16, step 800)"
  std::string description() const;

 private:
  EvaluationSettings settings_;
  Encoder encoder_;
  Pool pool_;
  TransformOptions transform_;
  std::vector<float> mean_, std_;
};

// Throws Error(data) unless both sets have the same classes.
void require_same_classes(const FeatureSet& train, const FeatureSet& test);

// Labels as the evaluation kernels take them: [N] i32.
Tensor label_tensor(const std::vector<int32_t>& labels);

}  // namespace tessera
