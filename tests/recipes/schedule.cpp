// Schedule: the values of spec/mae.md 4.2 and spec/evaluation.md 2, and curves of the official code.
#include "recipes/trainer/schedule.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/safetensors.h"

namespace tessera {
namespace {

// Relative; the printed check values have nine digits.
void check_near(double x, double expected, double relative) {
  CAPTURE(expected);
  CHECK(std::abs(x - expected) <= relative * std::abs(expected));
}

}  // namespace

TEST_CASE("recipes/schedule: the specification's check values") {
  const Schedule pretrain{.lr = scaled_lr(1.5e-4, 4096), .min_lr = 0, .warmup_epochs = 40, .epochs = 800};
  check_near(pretrain.lr, 2.4e-3, 1e-15);
  CHECK(pretrain.at(0) == 0);
  const std::pair<double, double> rows[] = {{1, 6e-5},     {20, 1.2e-3},        {39.999, 2.39994e-3},
                                            {40, 2.4e-3},  {41, 2.39998975e-3}, {200, 2.14696861e-3},
                                            {420, 1.2e-3}, {799, 1.02523445e-8}};
  for (const auto& [tau, lr] : rows) check_near(pretrain.at(tau), lr, 5e-9);

  const Schedule finetune{.lr = 2e-3, .min_lr = 1e-6, .warmup_epochs = 5, .epochs = 100};
  const std::pair<double, double> tuned[] = {
      {1, 4e-4}, {5, 2e-3}, {52.5, 1.0005e-3}, {99, 1.54646929e-6}, {99.9992, 1.00000035e-6}};
  for (const auto& [tau, lr] : tuned) check_near(finetune.at(tau), lr, 5e-9);
}

TEST_CASE("recipes/schedule: curves of the official code, with and without a group's scale") {
  const SafeTensors f = load_safetensors(std::string(TESSERA_SOURCE_DIR) +
                                         "/tests/golden/lr_schedules.safetensors");
  const auto schedules = nlohmann::json::parse(f.metadata.at("config")).at("schedules");
  int64_t compared = 0;
  for (const char* name : {"mae_pretrain", "mae_finetune", "mae_no_warmup"}) {
    const auto& c = schedules.at(name);
    const Schedule s{c.at("lr"), c.at("min_lr"), c.at("warmup_epochs"), c.at("epochs")};
    const int64_t per_epoch = c.at("iters_per_epoch"), steps = per_epoch * c.at("epochs").get<int64_t>();
    for (double scale : {1.0, 0.65}) {
      const Tensor& t = f.at(std::string("out.") + name + (scale == 1.0 ? "" : ".scale0.65"));
      REQUIRE(t.numel() == steps);
      for (int64_t i = 0; i < steps; ++i) {
        const double tau = static_cast<double>(i / per_epoch) +
                           static_cast<double>(i % per_epoch) / static_cast<double>(per_epoch);
        check_near(scale * s.at(tau), static_cast<double>(t.data<float>()[i]), 1e-6);
        ++compared;
      }
    }
  }
  CHECK(compared == 2 * (200 + 84 + 54));
}

}  // namespace tessera
