#include "recipes/mae/pretrain.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "data/mask.h"
#include "ops/normalize_images/normalize_images.h"
#include "ops/patchify/patchify.h"
#include "recipes/trainer/encoder.h"
#include "recipes/trainer/picture.h"

namespace tessera {
namespace {

constexpr float kGrey = 0.5f;     // of hidden patches, before normalisation
constexpr double kVarEps = 1e-6;  // of normalised targets (spec mae.md 2.6)

// Predictions of normalised patches say shape and contrast relative to the true patch: give them its mean and
// deviation back, as the official visualisation does.
void undo_normalisation(const Tensor& pred, const Tensor& truth) {
  const int64_t p = pred.dim(2), patches = pred.numel() / p;
  for (int64_t n = 0; n < patches; ++n) {
    float* x = pred.data<float>() + n * p;
    const float* t = truth.data<float>() + n * p;
    double mean = 0, var = 0;
    for (int64_t i = 0; i < p; ++i) mean += static_cast<double>(t[i]) / static_cast<double>(p);
    for (int64_t i = 0; i < p; ++i)
      var += std::pow(static_cast<double>(t[i]) - mean, 2) / static_cast<double>(p - 1);
    const double deviation = std::sqrt(var + kVarEps);
    for (int64_t i = 0; i < p; ++i) x[i] = static_cast<float>(static_cast<double>(x[i]) * deviation + mean);
  }
}

}  // namespace

MaeConfig MaeSettings::network() const {
  MaeConfig c;
  c.encoder.image_h = data.height;
  c.encoder.image_w = data.width;
  c.encoder.patch_h = c.encoder.patch_w = model.patch;
  c.encoder.channels = data.channels;
  c.encoder.dim = model.dim;
  c.encoder.depth = model.depth;
  c.encoder.heads = model.heads;
  c.encoder.mlp_ratio = model.mlp_ratio;
  c.decoder = {model.decoder_dim, model.decoder_depth, model.decoder_heads};
  c.mask_ratio = model.mask_ratio;
  c.normalize_target = model.normalize_target;
  return c;
}

MaePretrain::MaePretrain(const MaeSettings& settings)
    : settings_(settings),
      mean_(settings.data.mean_or_default()),
      std_(settings.data.std_or_default()),
      store_(settings.train.compute(), parse_device(settings.train.device)),
      mae_(Scope(store_), settings.network()) {
  store_.freeze(settings.train.seed());
}

Tensor MaePretrain::noise(const Batch& batch, const Step& step) const {
  return random_noise(step.seed, step.index, step.first_sample, batch.size(),
                      mae_.config().encoder.patches());
}

Var MaePretrain::loss(const Batch& batch, const Step& step) {
  const Tensor images = normalize_images(batch.pixels, mean_, std_);
  Pass pass;
  pass.recompute = settings_.train.recompute;
  return mae_.loss(images, noise(batch, step), pass);
}

CheckpointInfo MaePretrain::describe() const {
  CheckpointInfo info;
  info.recipe = "mae";
  info.model = settings_.model.name;
  info.parts = "encoder+decoder";
  info.target = settings_.model.normalize_target ? "normalised pixels" : "pixels";
  info.mean.assign(mean_.begin(), mean_.end());
  info.std.assign(std_.begin(), std_.end());
  describe_encoder(mae_.config().encoder, info);
  return info;
}

std::optional<Picture> MaePretrain::picture(const Batch& batch, const Step& step, int64_t at_most) {
  const int64_t shown = std::min(batch.size(), at_most);
  const Tensor images = normalize_images(batch.pixels.slice(0, shown), mean_, std_);
  const Tensor rows = noise(batch, step).slice(0, shown);
  const int zoom = settings_.data.height >= 96 ? 1 : 96 / settings_.data.height;
  return reconstruction(mae_, images, mask_by_noise(rows, mae_.kept()), mean_, std_, zoom);
}

double MaePretrain::multiply_adds() const {
  const MaeConfig& c = mae_.config();
  const auto d = static_cast<double>(c.encoder.dim), dd = static_cast<double>(c.decoder.dim);
  const auto p = static_cast<double>(c.encoder.patch_values());
  const auto kept = static_cast<double>(mae_.kept()), all = static_cast<double>(c.encoder.patches());
  return kept * p * d +
         block_multiply_adds(c.encoder.depth, c.encoder.dim, c.encoder.mlp_ratio, mae_.kept() + 1) +
         (kept + 1) * d * dd +
         block_multiply_adds(c.decoder.depth, c.decoder.dim, c.encoder.mlp_ratio, c.encoder.patches() + 1) +
         (all - kept) * dd * p;
}

Picture reconstruction(const Mae& mae, const Tensor& images, const Masking& masking,
                       const std::vector<float>& mean, const std::vector<float>& std, int zoom) {
  const NoGrad nothing_records;
  const VitConfig& e = mae.config().encoder;
  const int ph = static_cast<int>(e.patch_h), pw = static_cast<int>(e.patch_w);
  const Tensor truth = patchify(Var(images), ph, pw, PatchOrder::channel_last, DType::f32).value();
  const Tensor pred = mae.predict(images, masking, {}).value().to(DType::f32);
  if (mae.config().normalize_target) undo_normalisation(pred, truth);
  const Tensor masked = truth.clone(), paste = truth.clone();
  const int64_t l = e.patches(), p = e.patch_values(), c = e.channels;
  for (int64_t i = 0; i < masking.restore.numel(); ++i) {
    if (masking.restore.data<int32_t>()[i] < masking.keep.dim(1)) continue;
    for (int64_t j = 0; j < p; ++j) {
      const auto channel = static_cast<size_t>(j % c);
      masked.data<float>()[i * p + j] = (kGrey - mean[channel]) / std[channel];
      paste.data<float>()[i * p + j] = pred.data<float>()[i * p + j];
    }
  }
  const auto image = [&](const Tensor& tokens) {
    return unpatchify(Var(tokens.reshape({images.dim(0), l, p})), PatchOrder::channel_last, c, e.image_h,
                      e.image_w, ph, pw)
        .value();
  };
  const Tensor columns[] = {images, image(masked), image(pred), image(paste)};
  std::vector<std::vector<Picture>> rows(static_cast<size_t>(images.dim(0)));
  for (int64_t b = 0; b < images.dim(0); ++b) {
    for (const Tensor& column : columns)
      rows[static_cast<size_t>(b)].push_back(to_picture(column, b, mean, std));
  }
  return tile(rows, 2, zoom);
}

}  // namespace tessera
