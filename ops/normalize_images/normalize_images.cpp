// Checks of normalize_images, and its table of 256 values per channel.
#include "ops/normalize_images/normalize_images.h"

#include "autograd/audit.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/normalize_images/kernels.h"

namespace tessera {

Tensor normalize_images(const Tensor& images, const std::vector<float>& mean, const std::vector<float>& std) {
  TS_CHECK(images.rank() == 4, "normalize_images: images are {}, wanted [B,H,W,C]", images.shape().str());
  TS_CHECK(images.dtype() == DType::u8, "normalize_images: images are {}, wanted u8", name(images.dtype()));
  const int64_t c = images.dim(3);
  TS_CHECK(std::ssize(mean) == c && std::ssize(std) == c,
           "normalize_images: images have {} channels, mean has {} values and std {}", c, mean.size(),
           std.size());
  Tensor table({c, 256}, DType::f32, Device::cpu(), "workspace");
  for (int64_t k = 0; k < c; ++k) {
    const float mu = mean[static_cast<size_t>(k)], sigma = std[static_cast<size_t>(k)];
    TS_CHECK(sigma > 0, "normalize_images: std of channel {} is {}, wanted above 0", k, sigma);
    // The reference's own order of roundings, so that every value is its value.
    for (int i = 0; i < 256; ++i)
      table.data<float>()[k * 256 + i] = (static_cast<float>(i) / 255.0f - mu) / sigma;
  }
  const Tensor y({images.dim(0), c, images.dim(1), images.dim(2)}, DType::f32, images.device());
  const ProfileScope scope("normalize_images", bytes_of(y, images));
  half_on(images.device(), normalize_images_cpu).forward(y, images, table.to(images.device()));
  audit::output("normalize_images", y, 0, "input");
  return y;
}

}  // namespace tessera
