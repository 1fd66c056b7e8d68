// What a training step holds and takes: counts, not times. The bounds are docs/performance.md's.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>

#include "autograd/tape.h"
#include "engine/memory.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/optimizer.h"

namespace tessera {
namespace {

int64_t minor_faults() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return r.ru_minflt;
}

MaeSettings medium(const char* precision, bool recompute) {
  MaeSettings s;
  s.model.patch = 8;
  s.model.dim = 192;
  s.model.depth = 4;
  s.model.heads = 3;
  s.model.decoder_dim = 128;
  s.model.decoder_depth = 4;
  s.model.decoder_heads = 4;
  s.data.height = s.data.width = 64;
  s.train.batch = 16;
  s.train.precision = precision;
  s.train.recompute = recompute;
  return s;
}

struct Cost {
  int64_t saved = 0;   // bytes that a forward pass leaves for the backward pass
  int64_t faults = 0;  // the most of a step, once warm
  int64_t taken = 0;   // bytes the pool took from the system, once warm
};

Cost cost_of(const MaeSettings& s) {
  MaePretrain recipe(s);
  Optimizer optimizer(recipe.params(), {});
  Batch batch;
  batch.pixels = Tensor({s.train.batch, s.data.height, s.data.width, 3}, DType::u8);
  for (int64_t i = 0; i < batch.pixels.numel(); ++i)
    batch.pixels.data<uint8_t>()[i] = static_cast<uint8_t>(i * 37 % 251);
  for (int64_t i = 0; i < s.train.batch; ++i) batch.indices.push_back(i);
  Cost cost;
  int64_t reserved = 0;
  for (int64_t step = 0; step < 8; ++step) {
    const int64_t faults = minor_faults(), held = memory::usage().now;
    recipe.params().begin_gradients();
    Tape tape;
    const Var loss = recipe.loss(batch, {step, 0, 0, 0});
    cost.saved = memory::usage().now - held;
    tape.backward(loss);
    optimizer.step(1e-4, 0);
    if (step == 2) reserved = memory::usage().reserved;
    if (step > 2) cost.faults = std::max(cost.faults, minor_faults() - faults);
  }
  cost.taken = memory::usage().reserved - reserved;
  return cost;
}

}  // namespace

TEST_CASE("recipes/lean: a warm step takes no memory from the system") {
  for (const char* precision : {"f32", "bf16"}) {
    for (bool recompute : {false, true}) {
      CAPTURE(precision);
      CAPTURE(recompute);
      const Cost c = cost_of(medium(precision, recompute));
      CHECK(c.taken == 0);
#ifndef __SANITIZE_ADDRESS__  // its malloc never reuses soon
      CHECK(c.faults < 1000);
#endif
    }
  }
}

TEST_CASE("recipes/lean: what a block saves, and what it saves when recomputed") {
  // Per token and block of width d: query, key, value, heads' result, hidden before GELU: 8 d in the compute
  // type, and two residual sums in f32; norms and GELU are made again. Recomputed: the two sums.
  const double tokens = 16 * (16 + 1) * 4 * 192 + 16 * (64 + 1) * 4 * 128;  // times blocks and width
  for (const auto& [precision, size] : {std::pair{"f32", 4.0}, {"bf16", 2.0}}) {
    CAPTURE(precision);
    const double full = static_cast<double>(cost_of(medium(precision, false)).saved);
    const double lean = static_cast<double>(cost_of(medium(precision, true)).saved);
    const double around = 16 * 64 * 64 * 3 * 4 *
                          3;  // pictures, patches, targets in f32, for a model this small
    CHECK(full < 1.1 * tokens * (8 * size + 8) + around);
    CHECK(full > tokens * (8 * size + 8));
    CHECK(lean < 1.1 * tokens * 8 + around);
    CHECK(lean > tokens * 8);
  }
}

}  // namespace tessera
