// Cases of ops/adamw. Inputs: master, gradient, both moments; outputs: the new master, both moments, the
// state; two updates.
#include "ops/adamw/adamw.h"

#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr double kLearningRate = 0.03125, kClipFactor = 0.5;  // exact in f32
constexpr AdamWOptions kOptions{0.9, 0.999, 1e-8, 0.05};

// Three parameters with gaps; the second one is not decayed and slower, the third spans several tasks when n
// is large.
std::vector<Segment> segments_of(int64_t n) {
  return {{0, n / 8, true, 1.0f}, {n / 8 + 16, n / 8 - 21, false, 0.25f}, {n / 4, n / 2 + 3, true, 1.0f}};
}

Tensor state_with(float skip) {
  Tensor state = make_update_state();
  state.data<float>()[kLr] = static_cast<float>(kLearningRate);
  state.data<float>()[kClip] = static_cast<float>(kClipFactor);
  state.data<float>()[kSkip] = skip;
  return state;
}

Vars run(const Vars& in, float skip, bool copy) {
  const Tensor p = in[0].value().clone(), m = in[2].value().clone(), v = in[3].value().clone();
  const Tensor compute = copy ? p.to(DType::bf16) : Tensor();
  const Tensor state = state_with(skip);
  const std::vector<Segment> segments = segments_of(p.numel());
  for (int step = 0; step < 2; ++step) adamw(p, in[1].value(), m, v, compute, segments, state, kOptions);
  Vars out{Var(p), Var(m), Var(v), Var(state)};
  if (copy) out.push_back(Var(compute));
  return out;
}
Vars call(const Vars& in, DType) { return run(in, 0.0f, false); }
Vars call_copy(const Vars& in, DType) { return run(in, 0.0f, true); }
Vars call_skip(const Vars& in, DType) { return run(in, 1.0f, false); }

Arrays reference(const Arrays& in) {
  Array p = in[0], m = in[2], v = in[3], state({kUpdateStateSize});
  for (int step = 1; step <= 2; ++step) {
    for (const Segment& s : segments_of(p.shape.numel())) {
      const double lr = kLearningRate * static_cast<double>(s.lr_scale);
      for (int64_t i = s.begin; i < s.begin + s.count; ++i) {
        const double g = kClipFactor * in[1][i];
        if (s.decay) p[i] -= lr * kOptions.weight_decay * p[i];
        m[i] = kOptions.beta1 * m[i] + (1 - kOptions.beta1) * g;
        v[i] = kOptions.beta2 * v[i] + (1 - kOptions.beta2) * g * g;
        const double m_hat = m[i] / (1 - std::pow(kOptions.beta1, step));
        const double v_hat = v[i] / (1 - std::pow(kOptions.beta2, step));
        p[i] -= lr * m_hat / (std::sqrt(v_hat) + kOptions.eps);
      }
    }
  }
  state[kLr] = kLearningRate;
  state[kClip] = kClipFactor;
  state[kStep] = 2;
  return {p, m, v, state};
}

Arrays reference_copy(const Arrays& in) {
  Arrays out = reference(in);
  out.push_back(out[0]);
  return out;
}

Arrays reference_skip(const Arrays& in) {
  Array state({kUpdateStateSize});
  state[kLr] = kLearningRate;
  state[kClip] = kClipFactor;
  state[kSkip] = 1;
  return {in[0], in[2], in[3], state};
}

std::vector<In> slabs(int64_t n) {
  const In squares = fixed({n}).filled([](int64_t i) { return 0.01 + static_cast<double>(i % 7); });
  return {fixed({n}), fixed({n}), fixed({n}), squares};
}

Case update(const char* name, int64_t n, decltype(Case::call) call_op, decltype(Case::reference) formula) {
  Case c{name, slabs(n), std::move(call_op), std::move(formula)};
  c.bf16 = c.gradient = false;
  return c;
}

// For the bench: in place, one step, as a trainer does it.
Vars call_bench(const Vars& in, DType t) {
  const std::vector<Segment> segments{{0, in[0].numel(), true, 1.0f}};
  static const Tensor copy({in[0].numel()}, DType::bf16);
  adamw(in[0].value(), in[1].value(), in[2].value(), in[3].value(), t == DType::bf16 ? copy : Tensor(),
        segments, state_with(0.0f), kOptions);
  return {in[0]};
}

Tensor f32(int64_t n) { return make_tensor(fixed({n}), DType::f32, 1); }
void try_update(const Tensor& p, const Tensor& g, const Tensor& copy, std::vector<Segment> segments,
                const Tensor& state, const AdamWOptions& options = kOptions) {
  adamw(p, g, f32(64), f32(64), copy, segments, state, options);
}

}  // namespace

OPS("adamw") {
  op.add(update("three segments", 400, call, reference));
  op.add(update("several tasks", 70000, call, reference));
  op.add(update("skipped", 400, call_skip, reference_skip));
  op.add(update("compute copy", 400, call_copy, reference_copy));
  op.reject("gradient of another size", [] { try_update(f32(64), f32(63), {}, {}, state_with(0)); });
  op.reject("f32 compute copy", [] { try_update(f32(64), f32(64), f32(64), {}, state_with(0)); });
  op.reject("bf16 master", [] { try_update(f32(64).to(DType::bf16), f32(64), {}, {}, state_with(0)); });
  op.reject("segment beyond the slab", [] { try_update(f32(64), f32(64), {}, {{0, 65}}, state_with(0)); });
  op.reject("segments out of order", [] {
    try_update(f32(64), f32(64), {}, {{32, 8}, {16, 8}}, state_with(0));
  });
  op.reject("overlapping segments", [] {
    try_update(f32(64), f32(64), {}, {{0, 17}, {16, 8}}, state_with(0));
  });
  op.reject("state of another size", [] { try_update(f32(64), f32(64), {}, {}, f32(3)); });
  op.reject("beta 1", [] { try_update(f32(64), f32(64), {}, {}, state_with(0), {1.0, 0.9, 1e-8, 0.0}); });
  const int64_t n = 32 << 20;
  const In zeros = fixed({n}).filled([](int64_t) { return 0.0; });
  Bench bench{"32 Mi parameters",
              {zeros, zeros, zeros, zeros},
              call_bench,
              28.0 * static_cast<double>(n),
              30.0 * static_cast<double>(n)};
  bench.backward = false;
  op.bench(bench);
}

}  // namespace tessera::test
