#include "recipes/trainer/evaluation.h"

#include <algorithm>

#include "engine/check.h"
#include "ops/normalize_images/normalize_images.h"
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

// Checks what must be set before anything is read.
const EvaluationSettings& checked(const EvaluationSettings& s) {
  if (s.encoder.empty()) fail(ErrorKind::config, "encoder is not set: a run, random:RUN, raw:RUN or raw");
  if (s.data.train.empty() || s.data.test.empty()) {
    fail(ErrorKind::config, "data.train and data.test must both be set");
  }
  apply_threads(s.threads);
  return s;
}

}  // namespace

Evaluation::Evaluation(const EvaluationSettings& s)
    : settings_(checked(s)),
      encoder_(s.encoder, s.precision == "bf16" ? Precision::bf16() : Precision::f32(),
               static_cast<uint64_t>(s.seed)),
      pool_(s.features == "mean" ? Pool::mean : Pool::class_token) {
  const CheckpointInfo& info = encoder_.info();
  const VitConfig& c = encoder_.config();
  const bool known = !info.image_size.empty();
  const int height = size_or("height", s.data.height, known ? c.image_h : 0);
  const int width = size_or("width", s.data.width, known ? c.image_w : 0);
  const int channels = size_or("channels", s.data.channels, known ? c.channels : 0);
  if (!encoder_.raw() && (height != c.image_h || width != c.image_w || channels != c.channels)) {
    fail(ErrorKind::config, "data is {}x{}x{}, {} was trained on {}x{}x{}", height, width, channels,
         s.encoder, c.image_h, c.image_w, c.channels);
  }
  mean_ = statistic("mean", s.data.mean, info.mean, channels);
  std_ = statistic("std", s.data.std, info.std, channels);
  transform_ = evaluation_transform(s.data, height, width, channels);
}

FeatureSet Evaluation::features(const std::string& source) const {
  return extract_features(encoder_, pool_, source, transform_, mean_, std_, settings_.data.batch,
                          settings_.data.workers);
}

Tensor Evaluation::features(const Batch& batch) const {
  return encoder_.features(normalize_images(batch.pixels, mean_, std_), pool_);
}

std::unique_ptr<Loader> Evaluation::augmented(const std::string& source, int64_t batch) const {
  LoaderOptions options;
  options.sampler.batch = batch;
  options.sampler.seed = static_cast<uint64_t>(settings_.seed);
  options.transform = transform_;
  options.transform.kind = TransformKind::probe;
  options.transform.crop.scale_min = 0.08;
  options.workers = settings_.data.workers;
  return std::make_unique<Loader>(open_dataset(source), options);
}

std::string Evaluation::description() const {
  if (encoder_.raw()) return "pixels";
  const CheckpointInfo& info = encoder_.info();
  return fmt::format("{}, {} ({} {}, step {})", pool_ == Pool::mean ? "mean of patch tokens" : "class token",
                     settings_.encoder, info.recipe, info.model, info.step);
}

void require_same_classes(const FeatureSet& train, const FeatureSet& test) {
  if (train.classes != test.classes) {
    fail(ErrorKind::data, "data.train has {} classes, data.test {}", train.classes, test.classes);
  }
}

Tensor label_tensor(const std::vector<int32_t>& labels) {
  const Tensor t({static_cast<int64_t>(labels.size())}, DType::i32);
  std::copy(labels.begin(), labels.end(), t.data<int32_t>());
  return t;
}

}  // namespace tessera
