#include "recipes/trainer/evaluation.h"

#include <algorithm>

#include "engine/check.h"
#include "recipes/trainer/trainer.h"

namespace tessera {
namespace {

// Protocol of spec evaluation.md section 5: shorter side to 256/224 of the size, centre crop. Pictures below
// 64 pixels are data sets like MNIST's, used whole.
TransformOptions evaluation_transform(const EvaluationData& d, int height, int width, int channels) {
  TransformOptions t;
  t.height = height;
  t.width = width;
  t.channels = channels;
  const int small = std::min(height, width);
  t.kind = d.resize == 0 && small < 64 ? TransformKind::plain : TransformKind::eval;
  t.shorter = d.resize > 0 ? d.resize : small * 256 / 224;
  return t;
}

std::vector<float> statistic(const char* key, const std::vector<double>& given,
                             const std::vector<double>& trained, int channels) {
  const std::vector<double>& v = given.empty() ? trained : given;
  if (static_cast<int>(v.size()) != channels) {
    fail(ErrorKind::config, "data.{} has {} values for {} channels; give one per channel", key, v.size(),
         channels);
  }
  return {v.begin(), v.end()};
}

int size_or(const char* key, int given, int64_t trained) {
  const int64_t n = given > 0 ? given : trained;
  if (n <= 0) fail(ErrorKind::config, "data.{} is not set, and this encoder does not say it", key);
  return static_cast<int>(n);
}

}  // namespace

Features evaluate_features(const EvaluationSettings& s) {
  if (s.encoder.empty()) fail(ErrorKind::config, "encoder is not set: a run, random:RUN, raw:RUN or raw");
  if (s.data.train.empty() || s.data.test.empty())
    fail(ErrorKind::config, "data.train and data.test must both be set");
  apply_threads(s.threads);
  const Precision precision = s.precision == "bf16" ? Precision::bf16() : Precision::f32();
  const Encoder encoder(s.encoder, precision, static_cast<uint64_t>(s.seed));
  const CheckpointInfo& info = encoder.info();
  const VitConfig& c = encoder.config();
  const bool known = !info.image_size.empty();
  const int height = size_or("height", s.data.height, known ? c.image_h : 0);
  const int width = size_or("width", s.data.width, known ? c.image_w : 0);
  const int channels = size_or("channels", s.data.channels, known ? c.channels : 0);
  if (!encoder.raw() && (height != c.image_h || width != c.image_w || channels != c.channels)) {
    fail(ErrorKind::config, "data is {}x{}x{}, {} was trained on {}x{}x{}", height, width, channels,
         s.encoder, c.image_h, c.image_w, c.channels);
  }
  const std::vector<float> mean = statistic("mean", s.data.mean, info.mean, channels);
  const std::vector<float> std = statistic("std", s.data.std, info.std, channels);
  const TransformOptions transform = evaluation_transform(s.data, height, width, channels);
  const Pool pool = s.features == "mean" ? Pool::mean : Pool::class_token;

  Features f;
  f.train = extract_features(encoder, pool, s.data.train, transform, mean, std, s.data.batch, s.data.workers);
  f.test = extract_features(encoder, pool, s.data.test, transform, mean, std, s.data.batch, s.data.workers);
  if (f.train.classes != f.test.classes) {
    fail(ErrorKind::data, "data.train has {} classes, data.test {}", f.train.classes, f.test.classes);
  }
  f.description = encoder.raw()
                      ? fmt::format("pixels, {} wide", f.train.features.dim(1))
                      : fmt::format("{}, {} ({} {}, step {}), {} wide",
                                    pool == Pool::mean ? "mean of patch tokens" : "class token", s.encoder,
                                    info.recipe, info.model, info.step, f.train.features.dim(1));
  return f;
}

Tensor label_tensor(const std::vector<int32_t>& labels) {
  const Tensor t({static_cast<int64_t>(labels.size())}, DType::i32);
  std::copy(labels.begin(), labels.end(), t.data<int32_t>());
  return t;
}

}  // namespace tessera
