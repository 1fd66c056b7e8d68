// Cases of ops/sgd. Inputs: master, gradient, momentum buffer; outputs: the new master, the buffer, the
// state; two updates.
#include "ops/sgd/sgd.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr double kLearningRate = 0.125, kClipFactor = 0.5;  // exact in f32

std::vector<Segment> segments_of(int64_t n) {
  return {{0, n / 8, true, 1.0f}, {n / 8 + 16, 21, false, 0.25f}, {n / 2, n / 2 - 3, true, 0.5f}};
}

Vars run(const Vars& in, const SgdOptions& options, float skip) {
  const Tensor p = in[0].value().clone(), u = in[2].value().clone(), copy = p.to(DType::bf16);
  const Tensor state = make_update_state();
  state.data<float>()[kLr] = static_cast<float>(kLearningRate);
  state.data<float>()[kClip] = static_cast<float>(kClipFactor);
  state.data<float>()[kSkip] = skip;
  for (int step = 0; step < 2; ++step) sgd(p, in[1].value(), u, copy, segments_of(p.numel()), state, options);
  return {Var(p), Var(u), Var(copy), Var(state)};
}

Arrays reference(const Arrays& in, const SgdOptions& options, bool skip) {
  Array p = in[0], u = in[2], state({kUpdateStateSize});
  for (int step = 0; step < 2 && !skip; ++step) {
    for (const Segment& s : segments_of(p.shape.numel())) {
      for (int64_t i = s.begin; i < s.begin + s.count; ++i) {
        const double g = kClipFactor * in[1][i] + (s.decay ? options.weight_decay * p[i] : 0.0);
        u[i] = options.momentum * u[i] + g;
        p[i] -= kLearningRate * static_cast<double>(s.lr_scale) *
                (options.nesterov ? g + options.momentum * u[i] : u[i]);
      }
    }
  }
  state[kLr] = kLearningRate;
  state[kClip] = kClipFactor;
  state[kSkip] = skip ? 1 : 0;
  state[kStep] = skip ? 0 : 2;
  return {p, u, p, state};
}

Case update(const char* name, int64_t n, SgdOptions options, bool skip = false) {
  Case c{name,
         {fixed({n}), fixed({n}), fixed({n})},
         [=](const Vars& in, DType) { return run(in, options, skip ? 1.0f : 0.0f); },
         [=](const Arrays& in) { return reference(in, options, skip); }};
  c.bf16 = c.gradient = false;
  return c;
}

Tensor f32(int64_t n) { return make_tensor(fixed({n}), DType::f32, 1); }

}  // namespace

OPS("sgd") {
  op.add(update("momentum", 400, {0.9, 0.0, false}));
  op.add(update("Nesterov and decay", 400, {0.9, 0.05, true}));
  op.add(update("no momentum", 400, {0.0, 0.05, false}));
  op.add(update("several tasks", 70000, {0.9, 0.05, false}));
  op.add(update("skipped", 400, {0.9, 0.05, false}, true));
  op.reject("gradient of another size",
            [] { sgd(f32(64), f32(63), f32(64), {}, {}, make_update_state(), {}); });
  op.reject("momentum 1", [] {
    sgd(f32(64), f32(64), f32(64), {}, {}, make_update_state(), {1.0, 0.0, false});
  });
  op.reject("no state", [] { sgd(f32(64), f32(64), f32(64), {}, {}, {}, {}); });
  const int64_t n = 16 << 20;
  const In ones = fixed({n}).filled([](int64_t) { return 1.0; });
  Bench bench{"16 Mi parameters",
              {ones, ones, ones},
              [](const Vars& in, DType) {
                const std::vector<Segment> segments{{0, in[0].numel(), true, 1.0f}};
                sgd(in[0].value(), in[1].value(), in[2].value(), {}, segments, make_update_state(), {});
                return Vars{in[0]};
              },
              20.0 * static_cast<double>(n)};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
