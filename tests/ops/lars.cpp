// Cases of ops/lars. Inputs: master, gradient, momentum buffer; outputs: the new master, the buffer, the
// state; two updates.
#include "ops/lars/lars.h"

#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr double kLearningRate = 0.5, kClipFactor = 0.25;  // exact in f32
constexpr LarsOptions kOptions{0.875, 0.0625, 0.125};

// A matrix, a bias, a matrix of zeros (no ratio: its norm is 0) and one that spans several tasks when n is
// large; gaps between.
std::vector<Segment> segments_of(int64_t n) {
  return {{0, n / 8, true, 1.0f},
          {n / 8 + 16, 21, false, 0.25f},
          {n / 4, 32, true, 1.0f},
          {n / 2, n / 2 - 3, true, 0.5f}};
}

Vars run(const Vars& in, float skip) {
  const Tensor p = in[0].value().clone(), u = in[2].value().clone(), copy = p.to(DType::bf16);
  const Tensor state = make_update_state();
  state.data<float>()[kLr] = static_cast<float>(kLearningRate);
  state.data<float>()[kClip] = static_cast<float>(kClipFactor);
  state.data<float>()[kSkip] = skip;
  for (int step = 0; step < 2; ++step)
    lars(p, in[1].value(), u, copy, segments_of(p.numel()), state, kOptions);
  return {Var(p), Var(u), Var(copy), Var(state)};
}

double norm(const std::vector<double>& x) {
  double total = 0;
  for (double e : x) total += e * e;
  return std::sqrt(total);
}

void reference_step(Array& p, Array& u, const Array& grad, const Segment& s) {
  std::vector<double> w, g;
  for (int64_t i = s.begin; i < s.begin + s.count; ++i) {
    w.push_back(p[i]);
    g.push_back(kClipFactor * grad[i] + (s.decay ? kOptions.weight_decay * p[i] : 0.0));
  }
  const bool scaled = s.decay && norm(w) > 0 && norm(g) > 0;
  const double ratio = scaled ? kOptions.trust * norm(w) / norm(g) : 1.0;
  for (int64_t i = s.begin; i < s.begin + s.count; ++i) {
    u[i] = kOptions.momentum * u[i] + ratio * g[static_cast<size_t>(i - s.begin)];
    p[i] -= kLearningRate * static_cast<double>(s.lr_scale) * u[i];
  }
}

Arrays reference(const Arrays& in) {
  Array p = in[0], u = in[2], state({kUpdateStateSize});
  for (int step = 0; step < 2; ++step) {
    for (const Segment& s : segments_of(p.shape.numel())) reference_step(p, u, in[1], s);
  }
  state[kLr] = kLearningRate;
  state[kClip] = kClipFactor;
  state[kStep] = 2;
  return {p, u, p, state};
}

Arrays reference_skip(const Arrays& in) {
  Array state({kUpdateStateSize});
  state[kLr] = kLearningRate;
  state[kClip] = kClipFactor;
  state[kSkip] = 1;
  return {in[0], in[2], in[0], state};
}

Case update(const char* name, int64_t n, float skip) {
  const In master = fixed({n}).filled(
      [n](int64_t i) { return i >= n / 4 && i < n / 4 + 32 ? 0.0 : std::sin(static_cast<double>(i) * 1.7); });
  Case c{name,
         {master, fixed({n}), fixed({n})},
         [skip](const Vars& in, DType) { return run(in, skip); },
         skip != 0.0f ? reference_skip : reference};
  c.bf16 = c.gradient = false;
  return c;
}

Tensor f32(int64_t n) { return make_tensor(fixed({n}), DType::f32, 1); }

}  // namespace

OPS("lars") {
  op.add(update("four segments", 400, 0.0f));
  op.add(update("several tasks", 70000, 0.0f));
  op.add(update("skipped", 400, 1.0f));
  op.reject("gradient of another size",
            [] { lars(f32(64), f32(63), f32(64), {}, {}, make_update_state(), kOptions); });
  op.reject("trust 0", [] { lars(f32(64), f32(64), f32(64), {}, {}, make_update_state(), {0.9, 0.0, 0.0}); });
  op.reject("momentum 1", [] {
    lars(f32(64), f32(64), f32(64), {}, {}, make_update_state(), {1.0, 0.0, 0.001});
  });
  op.reject("no state", [] { lars(f32(64), f32(64), f32(64), {}, {}, {}, kOptions); });
  const int64_t n = 16 << 20;
  const In ones = fixed({n}).filled([](int64_t) { return 1.0; });
  Bench bench{"16 Mi parameters",
              {ones, ones, ones},
              [](const Vars& in, DType) {
                const std::vector<Segment> segments{{0, in[0].numel(), true, 1.0f}};
                lars(in[0].value(), in[1].value(), in[2].value(), {}, segments, make_update_state(),
                     kOptions);
                return Vars{in[0]};
              },
              32.0 * static_cast<double>(n)};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
