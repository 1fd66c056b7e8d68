#include "recipes/trainer/encoder.h"

#include <algorithm>
#include <charconv>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/copy.h"
#include "ops/mean_tokens/mean_tokens.h"
#include "ops/normalize_images/normalize_images.h"
#include "ops/slice_tokens/slice_tokens.h"

namespace tessera {
namespace {

// The fields of VitConfig that a checkpoint keeps, each under "encoder.<name>".
template <class F> void for_fields(VitConfig& c, F&& f) {
  f("patch_h", c.patch_h);
  f("patch_w", c.patch_w);
  f("channels", c.channels);
  f("dim", c.dim);
  f("depth", c.depth);
  f("heads", c.heads);
  f("mlp_ratio", c.mlp_ratio);
  f("eps", c.eps);
}

// Takes the encoder's parameters out of a checkpoint that may hold more (a decoder, mask tokens).
void load_encoder(ParamStore& store, const Weights& weights) {
  for (const Param& p : store.params()) {
    const Tensor* t = weights.model.find(p.name);
    if (t == nullptr) {
      fail(ErrorKind::checkpoint, "{}: the encoder's {} {} is missing", weights.path, p.name, p.shape.str());
    }
    store.assign(p, *t);
  }
  store.changed();
}

}  // namespace

void describe_encoder(const VitConfig& config, CheckpointInfo& info) {
  VitConfig c = config;
  info.image_size = {c.image_h, c.image_w};
  for_fields(c, [&](const char* name, const auto& value) {
    info.extra[fmt::format("encoder.{}", name)] = fmt::format("{}", value);
  });
}

VitConfig described_encoder(const CheckpointInfo& info, const std::string& path) {
  VitConfig c;
  if (info.image_size.size() != 2) fail(ErrorKind::checkpoint, "{}: does not say its image size", path);
  c.image_h = info.image_size[0];
  c.image_w = info.image_size[1];
  for_fields(c, [&](const char* name, auto& value) {
    const auto it = info.extra.find(fmt::format("encoder.{}", name));
    if (it == info.extra.end())
      fail(ErrorKind::checkpoint, "{}: does not describe its encoder ({} is missing)", path, name);
    const char* end = it->second.data() + it->second.size();
    if (std::from_chars(it->second.data(), end, value).ptr != end) {
      fail(ErrorKind::checkpoint, "{}: encoder.{} is \"{}\"", path, name, it->second);
    }
  });
  try {
    require_valid(c);
  } catch (const Error& e) {  // what a checkpoint says of itself is no configuration
    fail(ErrorKind::checkpoint, "{}: {}", path, e.what());
  }
  return c;
}

Encoder::Encoder(const std::string& spec, Precision precision, uint64_t seed) {
  if (spec == "raw") return;
  const bool random = spec.starts_with("random:"), pixels = spec.starts_with("raw:");
  const Weights weights = load_weights(random ? spec.substr(7) : pixels ? spec.substr(4) : spec);
  info_ = weights.info;
  config_ = described_encoder(info_, weights.path);
  if (pixels) return;
  store_ = std::make_unique<ParamStore>(precision);
  vit_ = std::make_unique<Vit>(Scope(*store_), config_);
  store_->freeze(seed);
  if (!random) load_encoder(*store_, weights);
}

Tensor Encoder::features(const Tensor& images, Pool pool) const {
  const int64_t b = images.dim(0);
  if (raw()) return images.reshape({b, images.numel() / b});
  const NoGrad nothing_records;
  const Var tokens = (*vit_)(images, {}, {});
  const Var pooled = pool == Pool::mean ? mean_tokens(tokens, 1)
                                        : slice_tokens(tokens, 0, 1).reshape({b, config_.dim});
  return pooled.value().to(DType::f32);
}

FeatureSet extract_features(const Encoder& encoder, Pool pool, const std::string& source,
                            const TransformOptions& transform, const std::vector<float>& mean,
                            const std::vector<float>& std, int64_t batch, int workers) {
  const std::shared_ptr<const Dataset> data = open_dataset(source);
  if (data->classes() == 0)
    fail(ErrorKind::data, "{}: has no labels; use folder:, list: with labels or idx:IMAGES,LABELS", source);
  LoaderOptions options;
  options.sampler.batch = std::min(batch, data->size());
  options.sampler.shuffle = options.sampler.drop_last = false;
  options.transform = transform;
  options.workers = workers;
  options.endless = false;
  Loader loader(data, options);
  FeatureSet set;
  set.classes = data->classes();
  int64_t row = 0;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    const Batch b = loader.next();
    const Tensor f = encoder.features(normalize_images(b.pixels, mean, std), pool);
    if (!set.features.defined())
      set.features = Tensor({data->size(), f.dim(1)}, DType::f32, Device::cpu(), "features");
    copy(set.features.slice(row, row + f.dim(0)), f);
    row += f.dim(0);
    set.labels.insert(set.labels.end(), b.labels.begin(), b.labels.end());
  }
  return set;
}

}  // namespace tessera
