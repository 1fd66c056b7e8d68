// normalize_images against Pillow and torchvision (fixture img_eval); normalize_patches and masked_mse
// against MAE's own loss of its own prediction, one hidden patch being almost flat (fixture
// mae_pretrain_c_flat).
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "engine/safetensors.h"
#include "ops/masked_mse/masked_mse.h"
#include "ops/normalize_images/normalize_images.h"
#include "ops/normalize_patches/normalize_patches.h"

namespace tessera::test {
namespace {

SafeTensors golden(const std::string& name) {
  return load_safetensors(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors");
}

void check_normalized(const Tensor& picture, const Tensor& want) {
  const Tensor got = normalize_images(picture.reshape({1, picture.dim(0), picture.dim(1), 3}),
                                      {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f});
  REQUIRE(got.numel() == want.numel());
  float worst = 0;
  for (int64_t i = 0; i < got.numel(); ++i) {
    worst = std::max(worst, std::fabs(got.data<float>()[i] - want.data<float>()[i]));
  }
  CHECK(worst <= 1e-6f);
}

// spec mae.md 2.1: t[r*g + c][(i*p + j)*3 + channel] = x[channel][r*p + i][c*p + j].
Tensor patches_of(const Tensor& images, int64_t p) {
  const int64_t b = images.dim(0), size = images.dim(2), g = size / p;
  Tensor t({b, g * g, p * p * 3}, DType::f32);
  for (int64_t k = 0; k < t.numel(); ++k) {
    const int64_t q = k % (p * p * 3), n = k / (p * p * 3) % (g * g), image = k / (p * p * 3) / (g * g);
    const int64_t channel = q % 3, i = q / 3 / p, j = q / 3 % p;
    t.data<float>()[k] = images.data<float>()[((image * 3 + channel) * size + n / g * p + i) * size +
                                              n % g * p + j];
  }
  return t;
}

}  // namespace

TEST_CASE("ops/normalize_images: pictures of the evaluation pipeline") {
  const SafeTensors file = golden("img_eval");
  int compared = 0;
  for (const auto& [name, want] : file.tensors) {
    if (name.starts_with("out.norm.")) {
      check_normalized(file.at("input.img." + name.substr(9)), want);
      ++compared;
    } else if (name.starts_with("out.eval_norm.")) {
      check_normalized(file.at("out.eval." + name.substr(14)), want);
      ++compared;
    }
  }
  CHECK(compared == 9);
}

TEST_CASE("ops/normalize_patches, ops/masked_mse: MAE's loss with an almost flat patch") {
  const SafeTensors file = golden("mae_pretrain_c_flat");
  const Tensor target = normalize_patches(patches_of(file.at("input.imgs"), 8));
  const Var loss = masked_mse(Var(file.at("out.pred")), target, file.at("out.mask"));
  const double want = file.at("out.loss").item();
  CHECK(std::fabs(loss.value().item() - want) <= 10 * file.at("tol.out.loss").item() + 1e-6 * want);
}

}  // namespace tessera::test
