#include "recipes/trainer/settings.h"

#include "data/normalize.h"
#include "engine/check.h"

namespace tessera {
namespace {

std::vector<float> per_channel(const char* key, const std::vector<double>& given,
                               const std::vector<float>& imagenet, int channels) {
  const std::vector<float> v = given.empty() ? imagenet : std::vector<float>(given.begin(), given.end());
  if (static_cast<int>(v.size()) != channels) {
    fail(ErrorKind::config, "data.{} has {} values for {} channels; give one per channel", key, v.size(),
         channels);
  }
  return v;
}

}  // namespace

TransformOptions DataSettings::transform_options() const {
  TransformOptions t;
  t.kind = transform == "crop" ? TransformKind::train : TransformKind::plain;
  t.pad = transform == "pad";
  t.height = height;
  t.width = width;
  t.channels = channels;
  t.crop.scale_min = min_scale;
  t.flip = flip;
  return t;
}

std::vector<float> DataSettings::mean_or_default() const {
  return per_channel("mean", mean, imagenet_stats().mean, channels);
}
std::vector<float> DataSettings::std_or_default() const {
  return per_channel("std", std, imagenet_stats().std, channels);
}

}  // namespace tessera
