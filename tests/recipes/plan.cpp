// Plans against what happens: the memory of real steps, the FLOPs of the performance page, and runs under
// every limit between too small and enough.
#include "recipes/trainer/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/floor.h"
#include "tests/recipes/scratch.h"

namespace tessera {
namespace {

// Small, but with room for activations beside the parameters; 64 patches of 4 x 4.
MaeSettings small() {
  MaeSettings s;
  s.model.name = "small";
  s.model.patch = 4;
  s.model.dim = 96;
  s.model.depth = 3;
  s.model.heads = 3;
  s.model.decoder_dim = 64;
  s.model.decoder_depth = 2;
  s.model.decoder_heads = 2;
  s.data.train = "synthetic:256,32x32x3";
  s.data.height = s.data.width = 32;
  s.data.workers = 1;
  s.optim.warmup_epochs = 0;
  s.train.max_steps = 2;
  s.train.log_every = 1000;
  s.train.save_every = 1000;
  return s;
}

Training training(const MaeSettings& s) { return {s.data, s.optim, s.train, to_yaml(s)}; }

int train_into(const MaeSettings& s, const std::string& out) {
  Invocation call;
  call.out = out;
  call.existing = Existing::overwrite;
  MaePretrain recipe(s);
  return train(recipe, training(s), call);
}

int64_t at(const std::map<std::string, int64_t>& m, const std::string& label) {
  const auto it = m.find(label);
  return it == m.end() ? 0 : it->second;
}

// What real training held at its peak, beside what this process held already.
memory::Usage measured(const MaeSettings& s, const std::string& out) {
  const memory::Usage before = memory::usage();
  memory::reset_peak();
  REQUIRE(train_into(s, out) == 0);
  memory::Usage u = memory::usage();
  u.peak -= before.now;
  for (auto& [label, bytes] : u.peak_by_label) bytes -= at(before.now_by_label, label);
  return u;
}

MemoryPlan planned(const MaeSettings& s) {
  const memory::Usage before = memory::usage();
  MaePretrain recipe(s);
  MemoryPlan plan = plan_step(recipe, training(s)).memory;
  plan.peak -= before.now;
  for (auto& [label, bytes] : plan.by_label) bytes -= at(before.now_by_label, label);
  return plan;
}

struct Quiet {
  Quiet() { log::set_level(log::Level::error); }
  ~Quiet() { log::set_level(log::Level::info); }
};

}  // namespace

TEST_CASE("recipes/plan: within 5 % of the peak of real training, in sum and by label") {
  const Quiet quiet;
  const test::Scratch scratch;
  const int threads_before = threads();
  for (const char* precision : {"f32", "bf16"}) {
    for (const bool recompute : {false, true}) {
      for (const int64_t accumulate : {1, 3}) {
        for (const int64_t batch : {1, 3, 16, 40}) {
          MaeSettings s = small();
          s.train.precision = precision;
          s.train.recompute = recompute;
          s.train.accumulate = accumulate;
          s.train.batch = batch;
          set_threads(accumulate == 1 ? 1 : 2);  // which labels meet at the peak is sure with one thread only
          const MemoryPlan plan = planned(s);
          const memory::Usage real = measured(s, scratch / "run");
          CAPTURE(precision);
          CAPTURE(recompute);
          CAPTURE(accumulate);
          CAPTURE(batch);
          const auto peak = static_cast<double>(real.peak);
          CHECK(std::fabs(static_cast<double>(plan.peak) / peak - 1) < 0.05);
          if (threads() > 1) continue;
          std::set<std::string> labels;
          for (const auto& [label, bytes] : plan.by_label) labels.insert(label);
          for (const auto& [label, bytes] : real.peak_by_label) labels.insert(label);
          for (const std::string& label : labels) {
            CAPTURE(label);
            const int64_t difference = at(plan.by_label, label) - at(real.peak_by_label, label);
            CHECK(std::fabs(static_cast<double>(difference)) < 0.05 * peak);
          }
        }
      }
    }
  }
  set_threads(threads_before);
}

// Independent figures: docs/performance.md, from the sizes of the networks by hand.
TEST_CASE("recipes/floor: FLOPs of the steps of the performance page") {
  const auto flops = [](int64_t dim, int64_t depth, int heads, int64_t batch) {
    MaeSettings s;
    s.model.dim = dim;
    s.model.depth = depth;
    s.model.heads = heads;
    s.train.batch = batch;
    s.train.precision = "bf16";
    MaePretrain recipe(s);
    const Floor floor = step_floor(recipe, s.train);
    CHECK(floor.bytes == 30 * static_cast<double>(recipe.params().trained_numel()));
    CHECK(floor.seconds(1, 1e30) == doctest::Approx(floor.flops * 1e-9));
    CHECK(floor.seconds(1e30, 1) == doctest::Approx(floor.bytes * 1e-9));
    return floor.flops * 1e-9;
  };
  CHECK(flops(768, 12, 12, 8) == doctest::Approx(464.9).epsilon(0.005));
  CHECK(flops(768, 12, 12, 32) == doctest::Approx(1859.5).epsilon(0.005));
  CHECK(flops(1024, 24, 16, 8) == doctest::Approx(990).epsilon(0.005));
}

}  // namespace tessera
