// The probe's head against MAE's (fixture linprobe_mae_lars), and a probe of features whose answer is known.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/copy.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "recipes/linear_probe/probe.h"

namespace tessera::test {
namespace {

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.numel() == b.numel());
  double worst = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    worst = std::max(
        worst, std::fabs(static_cast<double>(a.data<float>()[i]) - static_cast<double>(b.data<float>()[i])));
  }
  return worst;
}
double largest(const Tensor& t) {
  double m = 0;
  for (int64_t i = 0; i < t.numel(); ++i) m = std::max(m, std::fabs(static_cast<double>(t.data<float>()[i])));
  return m;
}

// The limits of the fixtures' README: tensors of the first pass, and values after five steps.
void check_tensor(const SafeTensors& file, const std::string& key, const Tensor& got) {
  INFO(key);
  CHECK(largest_difference(got, file.at(key)) <=
        10 * file.at("tol." + key).item() + 1e-6 * largest(file.at(key)));
}
void check_final(const SafeTensors& file, const std::string& key, const Tensor& got) {
  const Tensor& want = file.at(key);
  const double limit = 50 * file.at("tol." + key).item() + 1e-4 * largest(want);
  int64_t beyond = 0;
  for (int64_t i = 0; i < want.numel(); ++i) {
    beyond += std::fabs(static_cast<double>(got.data<float>()[i] - want.data<float>()[i])) > limit ? 1 : 0;
  }
  INFO(key, ": ", beyond, " of ", want.numel(), " beyond ", limit);
  CHECK(static_cast<double>(beyond) <= 0.02 * static_cast<double>(want.numel()));
}

// Classes are corners of a cube, plus noise in every direction.
void make_corners(const Tensor& x, const Tensor& y, uint64_t sample) {
  const Philox random(3, Purpose::test, 0, sample);
  for (int64_t i = 0; i < x.dim(0); ++i) {
    y.data<int32_t>()[i] = static_cast<int32_t>(random.below(static_cast<uint64_t>(i), 8));
    for (int64_t k = 0; k < x.dim(1); ++k) {
      const bool high = k < 3 && (y.data<int32_t>()[i] >> k & 1) != 0;
      const uint64_t at = static_cast<uint64_t>(1000000 + i * x.dim(1) + k);
      x.data<float>()[i * x.dim(1) + k] = static_cast<float>((high ? 1.0 : 0.0) + 0.05 * random.normal(at));
    }
  }
}

}  // namespace

TEST_CASE("recipes/linear_probe: five LARS steps of MAE's head") {
  const SafeTensors file = load_safetensors(std::string(TESSERA_SOURCE_DIR) +
                                            "/tests/golden/linprobe_mae_lars.safetensors");
  const Tensor& features = file.at("out.features");
  const Tensor labels = file.at("input.labels").to(DType::i32);
  ProbeHead head(16, 5, {});
  for (const char* name : {"head.1.weight", "head.1.bias"}) {
    const Param* p = head.params().find(name);
    REQUIRE(p != nullptr);
    head.params().assign(*p, file.at(std::string("param.") + name));
  }
  head.params().changed();
  CHECK(largest(head.running_mean()) == 0.0);
  CHECK(largest(head.running_var()) == 1.0);
  copy(head.running_mean(), file.at("param.head.0.running_mean"));  // the fixture starts elsewhere
  copy(head.running_var(), file.at("param.head.0.running_var"));

  const double loss = head.backward(features, labels);
  const double want = file.at("out.loss").item();
  CHECK(std::fabs(loss - want) <= 10 * file.at("tol.out.loss").item() + 1e-6 * want);
  check_tensor(file, "grad.head.1.weight", head.params().find("head.1.weight")->grad);
  check_tensor(file, "grad.head.1.bias", head.params().find("head.1.bias")->grad);
  check_tensor(file, "out.eval_output", head.logits(features));

  for (int64_t step = 0; step < 5; ++step) {
    head.update(6.4);
    const double got = head.backward(features, labels);
    const double after = static_cast<double>(file.at("after.loss").data<float>()[step]);
    const double tolerance = static_cast<double>(file.at("tol.after.loss").data<float>()[step]);
    CHECK(std::fabs(got - after) <= 50 * tolerance + 2e-5 * std::fabs(after));
  }
  check_final(file, "final.head.1.weight", head.params().find("head.1.weight")->master);
  check_final(file, "final.head.1.bias", head.params().find("head.1.bias")->master);
  check_final(file, "final.head.0.running_mean", head.running_mean());
  check_final(file, "final.head.0.running_var", head.running_var());
}

TEST_CASE("recipes/linear_probe: separable features are learned, by either optimiser, the same twice") {
  const Tensor x({600, 10}, DType::f32), y({600}, DType::i32), u({200, 10}, DType::f32), v({200}, DType::i32);
  make_corners(x, y, 0);
  make_corners(u, v, 1);
  ProbeOptions options;
  options.epochs = 60;
  options.warmup_epochs = 2;
  options.batch = 128;
  options.blr = 20.0;  // so few steps of 0.001 of a weight's length need a large rate
  const ProbeResult lars_result = linear_probe(x, y, u, v, 8, options);
  CHECK(lars_result.top1 > 0.99);
  CHECK(lars_result.top5 >= lars_result.top1);
  const ProbeResult again = linear_probe(x, y, u, v, 8, options);
  CHECK(again.train_loss == lars_result.train_loss);
  options.optimizer = ProbeOptions::Optimizer::sgd;
  options.blr = 1.0;
  CHECK(linear_probe(x, y, u, v, 8, options).top1 > 0.99);
}

TEST_CASE("recipes/linear_probe: wrong input is refused by name") {
  const Tensor x({10, 4}, DType::f32), y({10}, DType::i32);
  std::fill(x.data<float>(), x.data<float>() + 40, 1.0f);
  std::fill(y.data<int32_t>(), y.data<int32_t>() + 10, 2);
  CHECK_THROWS_WITH_AS(linear_probe(x, y, x, y, 2),
                       "linear_probe: label 2 of train sample 0 is outside [0, 2)", Error);
  CHECK_THROWS_AS(linear_probe(x.slice(0, 1), y.slice(0, 1), x, y, 3), Error);
  CHECK_THROWS_AS(linear_probe(x, y.slice(0, 9), x, y, 3), Error);
  CHECK_THROWS_AS(linear_probe(x, y, x.reshape({20, 2}).slice(0, 10), y, 3), Error);
  ProbeOptions options;
  options.epochs = 0;
  CHECK_THROWS_AS(linear_probe(x, y, x, y, 3, options), Error);
  x.data<float>()[7] = INFINITY;
  CHECK_THROWS_AS(linear_probe(x, y, x, y, 3), Error);
}

}  // namespace tessera::test
