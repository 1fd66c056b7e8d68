// Properties of the models: recomputation, other shapes, bad sizes, stochastic depth.
#include "models/vit.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/gradcheck.h"
#include "autograd/tape.h"
#include "engine/random.h"
#include "ops/residual/residual.h"
#include "recipes/mae/mae.h"

namespace tessera {
namespace {

MaeConfig odd_mae(int64_t channels) {
  MaeConfig c;
  c.encoder.image_h = 12;
  c.encoder.image_w = 30;  // a 3 x 5 grid of 4 x 6 patches
  c.encoder.patch_h = 4;
  c.encoder.patch_w = 6;
  c.encoder.channels = channels;
  c.encoder.dim = 20;  // heads 5 wide
  c.encoder.depth = 2;
  c.encoder.heads = 4;
  c.decoder = {12, 1, 2};
  c.mask_ratio = 0.6;
  return c;
}

Tensor random(Shape shape, uint64_t sample) {
  const Tensor t(shape, DType::f32);
  const Philox r(9, Purpose::test, 0, sample);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = r.uniform(static_cast<uint64_t>(i));
  return t;
}

Tensor gradients(const Mae& mae, ParamStore& store, const Tensor& images, const Tensor& noise,
                 const Pass& pass) {
  store.begin_gradients();
  Tape tape;
  tape.backward(mae.loss(images, noise, pass));
  store.finish_gradients();
  return store.grad().clone();
}

}  // namespace

TEST_CASE("models/mae: non-square grids, 1 and 4 channels, any head width; recomputation changes no bit") {
  for (int64_t channels : {1, 4}) {
    for (Precision precision : {Precision::f32(), Precision::bf16()}) {
      ParamStore store(precision);
      const Mae mae(Scope(store), odd_mae(channels));
      store.freeze(1);
      const Tensor images = random({3, channels, 12, 30}, 0), noise = random({3, 15}, 1);
      Pass again;
      again.recompute = true;
      const Tensor a = gradients(mae, store, images, noise, {}),
                   b = gradients(mae, store, images, noise, again);
      CHECK(std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
    }
  }
}

// The whole model's gradient with respect to its parameters, against differences of its loss.
TEST_CASE("models/mae: gradient of the loss, numerically") {
  ParamStore store;
  const Mae mae(Scope(store), odd_mae(1));
  store.freeze(2);
  const Tensor images = random({2, 1, 12, 30}, 0), noise = random({2, 15}, 1);
  gradients(mae, store, images, noise, {});
  const NoGrad nothing_records;
  for (const char* name : {"cls_token", "mask_token", "patch_embed.proj.weight", "blocks.1.mlp.fc1.bias",
                           "decoder_pred.weight"}) {
    const Param& p = *store.find(name);
    int64_t steepest = 0;
    for (int64_t i = 0; i < p.grad.numel(); ++i) {
      if (std::fabs(p.grad.data<float>()[i]) > std::fabs(p.grad.data<float>()[steepest])) steepest = i;
    }
    float& x = p.master.data<float>()[steepest];
    const float kept = x, h = 0.02f;
    const auto loss_at = [&](float value) {
      x = value;
      store.changed();
      return mae.loss(images, noise, {}).value().item();
    };
    const double slope = (loss_at(kept + h) - loss_at(kept - h)) / (2 * static_cast<double>(h));
    loss_at(kept);
    CAPTURE(name);
    CHECK(static_cast<double>(p.grad.data<float>()[steepest]) == doctest::Approx(slope).epsilon(0.02));
  }
}

TEST_CASE("models/vit: sizes that do not fit are refused with a reason") {
  const auto build = [](auto change) {
    VitConfig c = vit_tiny();
    change(c);
    ParamStore store;
    const Vit vit(Scope(store), c);
  };
  CHECK_THROWS_WITH_AS(build([](VitConfig& c) { c.image_w = 230; }),
                       doctest::Contains("not a multiple of the patch"), Error);
  CHECK_THROWS_WITH_AS(build([](VitConfig& c) { c.heads = 5; }),
                       doctest::Contains("not divisible by 5 heads"), Error);
  CHECK_THROWS_WITH_AS(build([](VitConfig& c) { c.dim = 30, c.heads = 5; }),
                       doctest::Contains("divisible by 4"), Error);
  CHECK_THROWS_WITH_AS(build([](VitConfig& c) { c.depth = 0; }), doctest::Contains("depth is 0"), Error);
  CHECK_THROWS_WITH_AS(build([](VitConfig& c) { c.drop_path = 1; }), doctest::Contains("drop_path"), Error);
  for (double ratio : {0.0, 0.95, 0.99}) {
    MaeConfig c = odd_mae(1);
    c.mask_ratio = ratio;
    ParamStore store;
    CHECK_THROWS_AS(Mae(Scope(store), c), Error);
  }
  ParamStore store;
  const Mae mae(Scope(store), odd_mae(1));
  store.freeze(0);
  CHECK_THROWS_WITH(mae.loss(random({2, 1, 12, 31}, 0), random({2, 15}, 1), {}),
                    doctest::Contains("[2, 1, 12, 30]"));
}

TEST_CASE("models/vit: stochastic depth scales what it keeps and is off in evaluation") {
  VitConfig c = odd_mae(1).encoder;
  c.drop_path = 0.5;
  ParamStore store;
  const VitClassifier model(Scope(store), c, 3, Pool::mean);
  store.freeze(3);
  const Tensor images = random({4, 1, 12, 30}, 0);
  std::vector<int64_t> asked;
  Pass pass;
  pass.drop_path = [&](int64_t element, double rate) {
    asked.push_back(element);
    CHECK(rate == 0.5);
    return drop_path_keep(1, 0, 0, 4, element, rate);
  };
  const NoGrad nothing_records;
  model(images, pass);
  CHECK(asked == std::vector<int64_t>{2, 3});  // block 0 has rate 0 and draws nothing
}

}  // namespace tessera
