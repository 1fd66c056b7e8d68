// The trainer as a whole: resuming, accumulation, threads, precision, and what it refuses. On small made-up
// pictures.
#include "recipes/trainer/trainer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/checkpoint.h"
#include "tests/recipes/small_mae.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Scratch : test::Scratch {
  test::Quiet quiet;
};

MaeSettings small() {
  MaeSettings s = test::small_mae();
  s.data.workers = 2;
  return s;
}

int run(const MaeSettings& s, const std::string& out, Existing existing = Existing::refuse,
        const std::string& init_from = "") {
  Invocation call;
  call.out = out;
  call.existing = existing;
  call.init_from = init_from;
  MaePretrain recipe(s);
  return train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call);
}

Checkpoint result(const std::string& out) { return load_latest(out).content; }

bool same_bits(const SafeTensors& a, const SafeTensors& b) {
  for (const auto& [name, t] : a.tensors) {
    const Tensor* o = b.find(name);
    if (o == nullptr || o->bytes() != t.bytes()) return false;
    if (std::memcmp(o->raw(), t.raw(), static_cast<size_t>(t.bytes())) != 0) return false;
  }
  return a.tensors.size() == b.tensors.size();
}

// The log without what depends on the clock.
std::vector<nlohmann::json> log_of(const std::string& out) {
  std::ifstream in(out + "/log.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("time");
  }
  return lines;
}

}  // namespace

// 50 pictures make 6 steps of 2 x 4 in an epoch: stops at the first step, inside an epoch, at its end and
// after it.
TEST_CASE("recipes/trainer: a resumed run equals an unbroken one, weights, moments and log, bit for bit") {
  const Scratch scratch;
  MaeSettings s = small();
  s.train.max_steps = 15;
  CHECK(run(s, scratch / "whole") == 0);
  const Checkpoint whole = result(scratch / "whole");
  CHECK(whole.info.step == 15);
  CHECK(log_of(scratch / "whole").size() == 15);
  for (int64_t stop : {1, 4, 6, 7}) {
    CAPTURE(stop);
    const std::string out = scratch / ("stopped-" + std::to_string(stop)).c_str();
    s.train.max_steps = stop;
    s.data.workers = 3;
    CHECK(run(s, out) == 0);
    s.train.max_steps = 15;
    s.data.workers = 0;
    CHECK(run(s, out, Existing::resume) == 0);
    const Checkpoint resumed = result(out);
    CHECK(same_bits(whole.model, resumed.model));
    CHECK(same_bits(whole.optimizer, resumed.optimizer));
    CHECK(log_of(scratch / "whole") == log_of(out));
  }
}

TEST_CASE("recipes/trainer: bits do not depend on threads, workers or recomputation, in f32 and bf16") {
  const Scratch scratch;
  const int before = threads();
  for (const char* precision : {"f32", "bf16"}) {
    MaeSettings s = small();
    s.train.precision = precision;
    s.train.max_steps = 4;
    set_threads(1);
    const std::string base = scratch / (std::string(precision) + "-1").c_str();
    run(s, base);
    for (int n : {2, 4}) {
      set_threads(n);
      s.data.workers = n;
      s.train.recompute = n == 4;
      const std::string out = scratch / (std::string(precision) + "-" + std::to_string(n)).c_str();
      run(s, out);
      CHECK(same_bits(result(base).model, result(out).model));
      CHECK(log_of(base) == log_of(out));
    }
  }
  set_threads(before);
}

TEST_CASE("recipes/trainer: accumulation equals the large batch") {
  const Scratch scratch;
  MaeSettings s = small();
  s.train.max_steps = 6;
  s.train.batch = 8;
  s.train.accumulate = 1;
  run(s, scratch / "large");
  s.train.batch = 2;
  s.train.accumulate = 4;
  run(s, scratch / "small");
  const auto large = log_of(scratch / "large"), accumulated = log_of(scratch / "small");
  REQUIRE(large.size() == 6);
  REQUIRE(accumulated.size() == 6);
  for (size_t i = 0; i < 6; ++i) {  // the same pictures, crops and masks: only sums are ordered otherwise
    CHECK(accumulated[i]["loss"].get<double>() ==
          doctest::Approx(large[i]["loss"].get<double>()).epsilon(1e-4));
    CHECK(accumulated[i]["grad_norm"].get<double>() ==
          doctest::Approx(large[i]["grad_norm"].get<double>()).epsilon(1e-3));
  }
  // Not because nothing moves: another seed gives other losses.
  s.train.seed_value = 1;
  run(s, scratch / "other");
  CHECK(std::fabs(log_of(scratch / "other")[3]["loss"].get<double>() - large[3]["loss"].get<double>()) >
        1e-3);
}

// 200 steps; the curve is smoothed over 20 steps, since two seeds see other pictures at each step.
TEST_CASE("recipes/trainer: a bf16 training curve lies within the spread of f32's seeds") {
  const Scratch scratch;
  MaeSettings s = small();
  s.data.train = "synthetic:400,20x24x1";
  s.train.epochs = 4;
  s.train.accumulate = 1;
  s.train.batch = 8;
  s.train.max_steps = 200;
  s.train.log_every = 1;
  const auto curve = [&](const char* name, const char* precision, int64_t seed) {
    s.train.precision = precision;
    s.train.seed_value = seed;
    run(s, scratch / name);
    std::vector<double> smooth(10, 0.0);
    const auto lines = log_of(scratch / name);
    REQUIRE(lines.size() == 200);
    for (size_t i = 0; i < 200; ++i) smooth[i / 20] += lines[i]["loss"].get<double>() / 20;
    return smooth;
  };
  const std::vector<std::vector<double>> f32 = {curve("a", "f32", 0), curve("b", "f32", 1),
                                                curve("c", "f32", 2)};
  const std::vector<double> bf16 = curve("d", "bf16", 0);
  for (size_t i = 0; i < 10; ++i) {
    const double spread = std::max({f32[0][i], f32[1][i], f32[2][i]}) -
                          std::min({f32[0][i], f32[1][i], f32[2][i]});
    CAPTURE(i);
    CHECK(std::fabs(bf16[i] - f32[0][i]) <= spread);
  }
  CHECK(f32[0][9] < 0.9 * f32[0][0]);  // it does learn
}

TEST_CASE("recipes/trainer: --init-from takes weights alone, and only those that fit") {
  const Scratch scratch;
  MaeSettings s = small();
  s.train.max_steps = 3;
  run(s, scratch / "first");
  s.optim.blr = 0;
  s.optim.weight_decay = 0;
  s.train.max_steps = 1;
  run(s, scratch / "second", Existing::refuse, scratch / "first");
  CHECK(same_bits(result(scratch / "first").model, result(scratch / "second").model));
  CHECK(result(scratch / "second").info.step == 1);
  CHECK_FALSE(same_bits(result(scratch / "first").optimizer, result(scratch / "second").optimizer));
  s.model.depth = 3;
  CHECK_THROWS_WITH_AS(run(s, scratch / "third", Existing::refuse, scratch / "first"),
                       doctest::Contains("blocks.2.norm1.weight [24] is missing"), Error);
}

TEST_CASE("recipes/trainer: what cannot be trained is refused with a reason") {
  const Scratch scratch;
  const auto refused = [&](auto change, const char* why) {
    MaeSettings s = small();
    change(s);
    CHECK_THROWS_WITH_AS(run(s, scratch / "no"), doctest::Contains(why), Error);
    fs::remove_all(scratch / "no");
  };
  refused([](MaeSettings& s) { s.train.batch = 64; }, "more than the 50 pictures");
  refused([](MaeSettings& s) { s.optim.warmup_epochs = 5; }, "warmup_epochs");
  refused([](MaeSettings& s) { s.data.mean = {0.5, 0.5}; }, "2 values for 1 channels");
  refused([](MaeSettings& s) { s.data.height = 18; }, "not a multiple of the patch");
  refused([](MaeSettings& s) { s.data.train = "flat:/nowhere/at/all"; }, "/nowhere/at/all");
  refused([](MaeSettings& s) { s.model.mask_ratio = 0.999; }, "mask ratio");
  refused([](MaeSettings& s) { s.train.device = "cuda"; }, "device=cpu");
  refused(
      [](MaeSettings& s) {
        s.optim.blr = 1e30;
        s.train.max_skips = 1;
        s.optim.warmup_epochs = 0;
      },
      "not finite");
  MaeSettings s = small();
  s.train.max_steps = 1;
  run(s, scratch / "used");
  CHECK_THROWS_WITH_AS(run(s, scratch / "used"), doctest::Contains("--resume"), Error);
  CHECK(run(s, scratch / "used", Existing::overwrite) == 0);
}

}  // namespace tessera
