// --profile: the scopes cover the steps and nothing else, and every op of a step is among them.
#include "recipes/trainer/step_profile.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/recipes/small_mae.h"

namespace tessera {
namespace {

const profile::Row* find(const std::vector<profile::Row>& rows, const std::string& name) {
  const auto it = std::find_if(rows.begin(), rows.end(),
                               [&](const profile::Row& r) { return r.name == name; });
  return it == rows.end() ? nullptr : &*it;
}

// A model whose ops take long enough for what lies between them to be little, as in any that is worth a run.
MaeSettings modest() {
  MaeSettings s = test::small_mae();
  s.model.dim = 96;
  s.model.decoder_dim = 64;
  s.train.batch = 24;
  s.train.accumulate = 2;
  s.train.epochs = 6;
  s.train.max_steps = 6;
  s.train.save_every = 3;
  s.data.train = "synthetic:144,20x24x1";
  return s;
}

}  // namespace

TEST_CASE("recipes/step_profile: scopes cover 95 % of a step; FLOPs are those of the formula") {
  const test::Scratch scratch;
  const test::Quiet quiet;
  profile::reset();
  const MaeSettings s = modest();
  MaePretrain recipe(s);
  Invocation call;
  call.out = scratch / "run";
  call.profile = true;
  CHECK(train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call) == 0);
  CHECK_FALSE(profile::enabled());

  const std::vector<profile::Row> rows = profile::rows();
  const profile::Row* step = find(rows, "step");
  REQUIRE(step != nullptr);
  CHECK(step->calls == 5);  // the first one warms up
  CHECK(static_cast<double>(step->own_ns) < 0.05 * static_cast<double>(step->ns));
  int64_t own = 0, multiplied = 0;
  for (const profile::Row& r : rows) {
    own += r.own_ns;
    if (r.name.starts_with("linear") && r.name != "linear bias gradient") multiplied += r.flops;
    if (r.name.starts_with("attention")) multiplied += r.flops;
  }
  CHECK(own == step->ns);  // nothing twice, nothing outside a step: saves and pictures compute too

  // Forward by the recipe's own formula, backward twice that, but for the pixels' gradient that nobody wants.
  const double forward = 2 * recipe.multiply_adds() * static_cast<double>(5 * 2 * 24);
  const double pixels = 2.0 * 5 * 2 * 24 * 5 * 16 * 96;  // 5 of 20 patches kept, 16 values each
  CHECK(static_cast<double>(multiplied) == 3 * forward - pixels);
  CHECK(find(rows, "linear weight gradient")->calls == find(rows, "linear forward")->calls);
  CHECK(find(rows, "adamw")->calls == 5);
  CHECK(find(rows, "data wait")->calls == 10);

  CHECK(std::filesystem::exists(scratch / "run/trace.json"));
  const nlohmann::json trace = nlohmann::json::parse(test::slurp(scratch / "run/trace.json"));
  CHECK(std::count_if(trace["traceEvents"].begin(), trace["traceEvents"].end(),
                      [](const nlohmann::json& e) { return e["name"] == "step"; }) == 5);
  profile::reset();
}

TEST_CASE("recipes/step_profile: a run without --profile records nothing") {
  const test::Scratch scratch;
  const test::Quiet quiet;
  profile::reset();
  MaeSettings s = test::small_mae();
  s.train.max_steps = 2;
  CHECK(test::train_mae(s, scratch / "run") == 0);
  CHECK(profile::rows().empty());
  CHECK_FALSE(std::filesystem::exists(scratch / "run/trace.json"));
}

}  // namespace tessera
