// Cases of ops/grad_norm. Input: the gradient slab; outputs: the norm and the state.
#include "ops/grad_norm/grad_norm.h"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/copy.h"
#include "engine/slab.h"
#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

using Losses = std::vector<double>;

Vars run(const Vars& in, double max_norm, const Losses& losses = {}) {
  const Tensor norm({1}, DType::f32), state = make_update_state();
  state.data<float>()[kClip] = state.data<float>()[kSkip] = 7.0f;  // leftovers of the step before
  std::vector<Tensor> each;
  for (double loss : losses) fill(each.emplace_back(Shape({1}), DType::f32), loss);
  grad_norm(norm, in[0].value(), max_norm, state, each);
  return {Var(norm), Var(state)};
}

Arrays reference(const Arrays& in, double max_norm, const Losses& losses) {
  Array norm({1}), state({kUpdateStateSize});
  for (double g : in[0].v) norm[0] += g * g;
  norm[0] = std::sqrt(norm[0]);
  const double factor = max_norm / (norm[0] + 1e-6);
  bool finite = std::isfinite(norm[0]);
  for (double loss : losses) finite = finite && std::isfinite(loss);
  state[kClip] = max_norm > 0 && finite && factor < 1 ? factor : 1.0;
  state[kSkip] = finite ? 0 : 1;
  return {norm, state};
}

Case norm_of(const char* name, In gradient, double max_norm, const Losses& losses = {}) {
  Case c{name,
         {gradient},
         [=](const Vars& in, DType) { return run(in, max_norm, losses); },
         [=](const Arrays& in) { return reference(in, max_norm, losses); }};
  c.bf16 = c.gradient = false;
  return c;
}

In with_value(int64_t n, int64_t at, double value) {
  return fixed({n}).filled([=](int64_t i) { return i == at ? value : 1e-3 * static_cast<double>(i % 17); });
}

}  // namespace

OPS("grad_norm") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  op.add(norm_of("clipped", fixed({1000}), 1.0));
  op.add(norm_of("below the limit", fixed({37}), 1e6));
  op.add(norm_of("no limit", fixed({16}), 0.0));
  op.add(norm_of("many ranges", fixed({200003}), 5.0));
  op.add(norm_of("zero", fixed({32}).filled([](int64_t) { return 0.0; }), 1.0));
  op.add(norm_of("squares beyond f32", with_value(40, 3, 1e30), 1.0));
  op.add(norm_of("infinity", with_value(70000, 66000, inf), 1.0));
  op.add(norm_of("minus infinity, no limit", with_value(33, 32, -inf), 0.0));
  op.add(norm_of("NaN", with_value(70000, 5, nan), 1.0));
  op.add(norm_of("finite losses", fixed({1000}), 1.0, {1e30, -2.5}));
  op.add(norm_of("the last loss is NaN", fixed({1000}), 1.0, {1.0, nan}));
  op.add(norm_of("the first loss is infinite", fixed({1000}), 1.0, {-inf, 1.0}));
  op.reject("bf16 gradient",
            [] { grad_norm(Tensor({1}, DType::f32), Tensor({4}, DType::bf16), 1, make_update_state()); });
  op.reject("negative limit",
            [] { grad_norm(Tensor({1}, DType::f32), Tensor({4}, DType::f32), -1, make_update_state()); });
  op.reject("norm of another size",
            [] { grad_norm(Tensor({2}, DType::f32), Tensor({4}, DType::f32), 1, make_update_state()); });
  op.reject("a loss of another dtype", [] {
    const Tensor loss({1}, DType::bf16);
    grad_norm(Tensor({1}, DType::f32), Tensor({4}, DType::f32), 1, make_update_state(), {&loss, 1});
  });
  op.reject("no state", [] { grad_norm(Tensor({1}, DType::f32), Tensor({4}, DType::f32), 1, {}); });
  const int64_t n = 32 << 20;
  Bench bench{"32 Mi parameters",
              {fixed({n}).filled([](int64_t i) { return static_cast<double>(i % 3); })},
              [](const Vars& in, DType) { return run(in, 1.0); },
              4.0 * static_cast<double>(n)};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
