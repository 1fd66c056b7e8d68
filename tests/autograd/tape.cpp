// The tape: sums of several uses, sharing, parameters in slabs, recomputation, misuse.
#include "autograd/tape.h"

#include <doctest/doctest.h>

#include <cstring>

#include "autograd/gradcheck.h"
#include "autograd/param.h"
#include "autograd/recompute.h"
#include "engine/copy.h"
#include "engine/profile.h"
#include "ops/add/add.h"
#include "ops/gelu/gelu.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/residual/residual.h"

namespace tessera {
namespace {

Tensor numbers(Shape shape, float scale, float shift = 0) {
  const Tensor t(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = shift + scale * static_cast<float>((i * 7) % 11 - 5);
  return t;
}

Tensor ones(Shape shape) {
  const Tensor t(shape, DType::f32);
  fill(t, 1);
  return t;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

// A residual block in miniature: x used twice, parameters used once or twice.
struct Net {
  ParamStore store;
  Param &gamma, &beta, &w, &b;
  Net()
      : gamma(Scope(store).param("gamma", {8}, Init::ones(), Decay::no, Use::vector)),
        beta(Scope(store).param("beta", {8}, Init::zeros(), Decay::no, Use::vector)),
        w(Scope(store).param("w", {8, 8}, Init::gaussian(0.5), Decay::yes, Use::matrix)),
        b(Scope(store).param("b", {8}, Init::zeros(), Decay::no, Use::vector)) {
    store.freeze(3);
  }
  Var hidden(const Var& x) const { return gelu(linear(layer_norm(x, gamma, beta, 1e-6f, DType::f32), w, b)); }
  Var last(const Var& x, const Var& h) const { return residual(x, linear(h, w, b)); }  // w, b again
  Var operator()(const Var& x) const { return last(x, hidden(x)); }
  Var lean(const Var& x) const {
    return recompute(
        x, [this](const Var& v) { return hidden(v); },
        [this](const Var& v, const Var& h) { return last(v, h); });
  }
};

}  // namespace

TEST_CASE("autograd/tape: gradients of a value used several times, against differences") {
  const Net net;
  const auto f = [&](const std::vector<Var>& in) { return net(add(in[0], in[1])); };
  GradCheck options;
  options.tolerance = 5e-3;
  CHECK(gradcheck(f, {numbers({3, 8}, 0.3f), numbers({3, 8}, 0.1f, 0.2f)}, options) == "");
}

TEST_CASE("autograd/gradcheck: notices a wrong gradient") {
  const auto wrong = [](const std::vector<Var>& in) {
    const Tensor y = in[0].value().clone();
    return Tape::record("wrong", {in[0]}, y, [](const Tensor& dy, Grads& dx) {
      const Tensor twice = dy.clone();
      accumulate(twice, dy);
      dx[0].give(twice);
    });
  };
  CHECK(gradcheck(wrong, {numbers({4}, 1.0f)}) != "");
}

TEST_CASE("autograd/tape: a parameter's first write of a step overwrites, later ones add") {
  const Net net;
  const Tensor x = numbers({5, 8}, 0.2f);
  const auto backward = [&](float seed) {
    Tape tape;
    const Var y = net(Var(x));
    const Tensor dy = ones(y.shape());
    for (int64_t i = 0; i < dy.numel(); ++i) dy.data<float>()[i] = seed;
    tape.backward(std::vector<Var>{y}, {dy});
  };
  net.w.grad_written = false;
  const_cast<ParamStore&>(net.store).begin_gradients();
  fill(net.store.grad(), 77);  // what an earlier step left
  backward(1);
  const Tensor once = net.store.grad().clone();
  CHECK(once.data<float>()[net.w.offset] != 77.0f);
  backward(1);  // a second micro-batch of the same step
  for (int64_t i = 0; i < net.w.grad.numel(); ++i) {
    CHECK(net.w.grad.data<float>()[i] ==
          doctest::Approx(2 * once.data<float>()[net.w.offset + i]).epsilon(1e-5));
  }
}

TEST_CASE("autograd/tape: what nothing wrote becomes zero at the end of a step") {
  ParamStore store;
  Param& used = Scope(store).param("used", {4}, Init::ones(), Decay::no, Use::vector);
  Param& unused = Scope(store).param("unused", {4}, Init::ones(), Decay::no, Use::vector);
  store.freeze(0);
  fill(store.grad(), 5);
  store.begin_gradients();
  Tape tape;
  const Var y = add(used.var().reshape({1, 4}), Var(ones({1, 4})));
  tape.backward(std::vector<Var>{y}, {ones({1, 4})});
  store.finish_gradients();
  CHECK(used.grad.data<float>()[0] == 1.0f);
  CHECK(unused.grad.data<float>()[3] == 0.0f);
}

TEST_CASE("autograd/recompute: changes no bit, and drops what the block saved") {
  const Net net;
  const Tensor x = numbers({64, 8}, 0.2f), dy = numbers({64, 8}, 0.1f, 0.05f);
  const auto run = [&](bool again, Tensor* dx) {
    const_cast<ParamStore&>(net.store).begin_gradients();
    Tape tape;
    const Var in = tape.watch(x);
    const Var y = again ? net.lean(in) : net(in);
    tape.backward(std::vector<Var>{y}, {dy});
    *dx = tape.gradient_of(in);
    return net.store.grad().clone();
  };
  Tensor dx_plain, dx_again;
  const Tensor plain = run(false, &dx_plain), again = run(true, &dx_again);
  CHECK(same_bits(plain, again));
  CHECK(same_bits(dx_plain, dx_again));

  const auto held = [&](bool again_) {
    const int64_t before = memory::usage().now;
    Tape tape;
    const Var y = again_ ? net.lean(tape.watch(x)) : net(tape.watch(x));
    return memory::usage().now - before;
  };
  CHECK(held(true) < held(false));
  // A constant input still leads to the parameters inside.
  const_cast<ParamStore&>(net.store).begin_gradients();
  Tape tape;
  const Var y = net.lean(Var(x));
  profile::reset();
  profile::enable(true);
  tape.backward(std::vector<Var>{y}, {dy});
  profile::enable(false);
  CHECK(same_bits(plain, net.store.grad()));
  int64_t products = 0;
  for (const profile::Row& row : profile::rows()) products += row.name == "linear forward" ? row.calls : 0;
  CHECK(products == 1);  // the product at the end is not made again
  profile::reset();
}

TEST_CASE("autograd/tape: misuse is refused") {
  const Net net;
  const Tensor x = numbers({2, 8}, 0.2f);
  Var left_over;
  {
    Tape tape;
    left_over = net(tape.watch(x));
  }
  Tape tape;
  CHECK_THROWS_WITH(gelu(left_over), doctest::Contains("another tape"));
  CHECK_THROWS_WITH(tape.backward(Var(ones({1}))), doctest::Contains("constant"));
  const Var y = net(tape.watch(x));
  CHECK_THROWS_WITH(tape.backward(y), doctest::Contains("one f32 number"));
  tape.backward(std::vector<Var>{y}, {ones(y.shape())});
  CHECK_THROWS_WITH(tape.backward(std::vector<Var>{y}, {ones(y.shape())}), doctest::Contains("second time"));
  CHECK_THROWS_WITH(net(y), doctest::Contains("after backward"));
}

TEST_CASE("autograd/tape: nothing records without a tape or under NoGrad, and the tape prints") {
  const Net net;
  const Tensor x = numbers({2, 8}, 0.2f);
  CHECK_FALSE(Tape::recording({net(Var(x))}));
  Tape tape;
  {
    const NoGrad nothing;
    CHECK_FALSE(Tape::recording({net(Var(x))}));
  }
  net(tape.watch(x));
  CHECK(tape.print().find("layer_norm(%0, gamma, beta) [2, 8] f32") != std::string::npos);
}

TEST_CASE("autograd/tape: parameters report when their last use has been walked") {
  const Net net;
  Tape tape;
  std::vector<std::string> ready;
  tape.on_ready([&](const Param& p) { ready.push_back(p.name); });
  const Var y = net(tape.watch(numbers({2, 8}, 0.2f)));
  tape.backward(std::vector<Var>{y}, {ones(y.shape())});
  CHECK(ready.size() == 4);
  CHECK(std::count(ready.begin(), ready.end(), "w") == 1);  // once, though used twice
}

}  // namespace tessera
