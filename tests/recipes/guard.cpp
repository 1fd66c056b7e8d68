// Steps that are not finite: skipped without a trace in weights and moments, explained, counted, and in the
// end too many.
#include "recipes/trainer/guard.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/sampler.h"
#include "engine/fault.h"
#include "engine/random.h"
#include "tests/recipes/small_mae.h"

namespace tessera {
namespace {

using nlohmann::json;
using test::Scratch;
using test::small_mae;

bool same_bits(const SafeTensors& a, const SafeTensors& b) {
  for (const auto& [name, t] : a.tensors) {
    const Tensor* o = b.find(name);
    if (o == nullptr || o->bytes() != t.bytes()) return false;
    if (std::memcmp(o->raw(), t.raw(), static_cast<size_t>(t.bytes())) != 0) return false;
  }
  return a.tensors.size() == b.tensors.size();
}

// The log without what depends on the clock.
std::vector<json> log_of(const std::string& run) {
  std::istringstream in(test::slurp(run + "/log.jsonl"));
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(json::parse(line));
    lines.back().erase("time");
  }
  return lines;
}

std::vector<json> skips_of(const std::string& run) {
  std::vector<json> skips;
  for (const json& line : log_of(run)) {
    if (line.contains("skipped")) skips.push_back(line);
  }
  return skips;
}

Checkpoint at_step(const std::string& run, int64_t step) {
  return load_checkpoint(run + "/checkpoints/step-" + std::to_string(step));
}

// Every op of the small MAE's step that has a value or a gradient to spoil.
constexpr const char* kForward[] = {"patchify",      "linear",      "gather_tokens", "residual",
                                    "add",           "layer_norm",  "attention",     "gelu",
                                    "concat_tokens", "fill_tokens", "masked_mse",    "normalize_patches"};
constexpr const char* kBackward[] = {"linear",     "gather_tokens", "residual", "add",         "attention",
                                     "layer_norm", "concat_tokens", "gelu",     "fill_tokens", "masked_mse"};

struct Injection {
  std::string point, op, pass;
};
Injection choose(uint32_t draw) {
  if (draw == 0) return {"input", "normalize_images", "forward"};
  if (draw == 1) return {"loss", "loss", "forward"};
  if (draw < 14) {
    const std::string op = kForward[draw - 2];
    return {"op." + op, op, "forward"};
  }
  const std::string op = kBackward[draw - 14];
  return {"gradient." + op, op, "backward"};
}

// Values without rows per sample: losses, and the class token with its position, before it is repeated.
bool belongs_to_all(const std::string& point) {
  return point == "loss" || point == "op.masked_mse" || point == "op.add" ||
         point == "gradient.concat_tokens";
}

// Index in the data set of row `row` of step `step`'s first micro-batch (from 1).
int64_t sample_at(const MaeSettings& s, int64_t step, int64_t row) {
  SamplerOptions o;
  o.size = 50;
  o.batch = s.train.batch;
  o.seed = s.train.seed();
  o.multiple = s.train.accumulate;
  return Sampler(o).index(0, (step - 1) * s.train.accumulate * s.train.batch + row);
}

}  // namespace

TEST_CASE("recipes/guard: 200 injections: found in their step, nothing moved, op and samples named") {
  const test::Quiet quiet;
  int64_t clean = 0;
  for (uint64_t trial = 0; trial < 200; ++trial) {
    const Scratch scratch;
    const Philox random(7, Purpose::init, 0, trial);
    const Injection what = choose(trial < 24 ? static_cast<uint32_t>(trial) : random.below(0, 24));
    const int64_t step = 2 + random.below(1, 2);
    MaeSettings s = small_mae();
    s.train.accumulate = 1 + random.below(2, 2);
    s.train.precision = random.below(3, 2) == 0 ? "f32" : "bf16";
    s.train.recompute = random.below(5, 2) == 0;
    s.train.save_every = 1;
    s.train.keep = 9;
    s.train.max_steps = step;
    const std::string fault = what.point + ":" + std::to_string(step) +
                              (random.below(4, 2) ? "=nan" : "=inf");
    CAPTURE(fault);
    CAPTURE(s.train.accumulate);
    CAPTURE(s.train.precision);
    CAPTURE(s.train.recompute);
    {
      const fault::Scope faults(fault);
      REQUIRE(test::train_mae(s, scratch / "run") == 0);
      CHECK(faults.fired() == 2);  // once in the step, once in its replay
    }
    const Checkpoint before = at_step(scratch / "run", step - 1), after = at_step(scratch / "run", step);
    CHECK(same_bits(before.model, after.model));
    CHECK(same_bits(before.optimizer, after.optimizer));
    const std::vector<json> skips = skips_of(scratch / "run");
    REQUIRE(skips.size() == 1);
    CHECK(skips[0]["step"] == step);
    CHECK(skips[0]["op"] == what.op);
    CHECK(skips[0]["pass"] == what.pass);
    CHECK(skips[0]["micro"] == 0);
    const auto samples = skips[0]["samples"].get<std::vector<int64_t>>();
    CHECK(std::count(samples.begin(), samples.end(), sample_at(s, step, s.train.batch / 2)) == 1);
    CHECK(samples.size() == (belongs_to_all(what.point) ? static_cast<size_t>(s.train.batch) : 1u));
    clean += step - 1;
  }
  MESSAGE("clean steps, all left alone: " << clean);
}

TEST_CASE("recipes/guard: skipped steps survive a resume: weights, log and count as in an unbroken run") {
  const Scratch scratch;
  const test::Quiet quiet;
  MaeSettings s = small_mae();
  s.train.max_steps = 6;
  s.train.max_skips = 2;
  const std::string two = "op.attention:2=nan,gradient.linear:5=inf";
  const fault::Scope faults(two);
  CHECK(test::train_mae(s, scratch / "whole") == 0);
  for (int64_t stop : {1, 2, 4, 5}) {
    CAPTURE(stop);
    const std::string out = scratch / ("stopped-" + std::to_string(stop));
    s.train.max_steps = stop;
    CHECK(test::train_mae(s, out) == 0);
    s.train.max_steps = 6;
    CHECK(test::train_mae(s, out, Existing::resume) == 0);
    const Checkpoint whole = at_step(scratch / "whole", 6), resumed = at_step(out, 6);
    CHECK(same_bits(whole.model, resumed.model));
    CHECK(same_bits(whole.optimizer, resumed.optimizer));
    CHECK(whole.info.extra == resumed.info.extra);
    CHECK(log_of(scratch / "whole") == log_of(out));
  }
  CHECK(skips_of(scratch / "whole").size() == 2);

  // One skip too many: code 5, in one go or after a resume, and what was saved before stands.
  s.train.max_skips = 1;
  s.train.save_every = 2;
  const auto gives_up = [&](const std::string& out, Existing existing) {
    try {
      test::train_mae(s, out, existing);
      CHECK_MESSAGE(false, "trained on");
    } catch (const Error& e) {
      CHECK(e.exit_code() == 5);
    }
    CHECK(load_latest(out).folder.ends_with("step-4"));
  };
  gives_up(scratch / "unbroken", Existing::refuse);
  s.train.max_steps = 3;
  CHECK(test::train_mae(s, scratch / "broken") == 0);
  s.train.max_steps = 6;
  gives_up(scratch / "broken", Existing::resume);
  CHECK(same_bits(at_step(scratch / "unbroken", 4).model, at_step(scratch / "broken", 4).model));
  CHECK(log_of(scratch / "unbroken") == log_of(scratch / "broken"));
}

TEST_CASE("recipes/guard: real causes: a rate beyond all measure, pictures beyond f32") {
  const Scratch scratch;
  const test::Quiet quiet;
  MaeSettings s = small_mae();
  s.optim.blr = 1e30;
  s.optim.warmup_epochs = 0;
  s.train.max_steps = 3;
  CHECK(test::train_mae(s, scratch / "rate") == 0);  // steps 2 and 3 are skipped
  const std::vector<json> overflow = skips_of(scratch / "rate");
  REQUIRE(overflow.size() == 2);
  CHECK(overflow[0]["step"] == 2);
  CHECK(overflow[0]["pass"] == "forward");
  CHECK(overflow[0]["samples"].size() >= 1);

  s = small_mae();
  s.data.std = {1e-40};  // half of which is beyond f32
  s.train.max_steps = 1;
  CHECK(test::train_mae(s, scratch / "pictures") == 0);
  const std::vector<json> pictures = skips_of(scratch / "pictures");
  REQUIRE(pictures.size() == 1);
  CHECK(pictures[0]["op"] == "normalize_images");
  CHECK(pictures[0]["samples"].size() == 4);
}

TEST_CASE("recipes/guard: a damaged parameter is named; a step that is finite again is the machine's") {
  const test::Quiet quiet;
  const MaeSettings s = small_mae();
  MaePretrain recipe(s);
  LoaderOptions o;
  o.sampler.batch = s.train.batch;
  o.transform = s.data.transform_options();
  SkippedStep step;
  step.loss = step.grad_norm = 1;
  const std::shared_ptr<const Dataset> data = open_dataset(s.data.train);
  CHECK(json::parse("{" + diagnose(recipe, step, data, o).json + "}")["replay"] == "finite");
  const Param* p = recipe.params().find("blocks.1.mlp.fc1.weight");
  REQUIRE(p != nullptr);
  p->master.data<float>()[3] = NAN;
  const Diagnosis d = diagnose(recipe, step, data, o);
  CHECK(json::parse("{" + d.json + "}")["parameter"] == "blocks.1.mlp.fc1.weight");
  CHECK(d.text.find("blocks.1.mlp.fc1.weight") != std::string::npos);
}

}  // namespace tessera
