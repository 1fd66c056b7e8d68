// Cases of ops/mean_tokens.
#include "ops/mean_tokens/mean_tokens.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Array means(const Array& x, int64_t first) {
  const int64_t n = x.dim(1), c = x.dim(2);
  Array y({x.dim(0), c});
  for (int64_t i = 0; i < y.shape.numel(); ++i) {
    for (int64_t t = first; t < n; ++t)
      y[i] += x[(i / c * n + t) * c + i % c] / static_cast<double>(n - first);
  }
  return y;
}

Case mean(const char* name, Shape shape, int64_t first) {
  return {name,
          {activation(shape)},
          [=](const Vars& in, DType) { return Vars{mean_tokens(in[0], first)}; },
          [=](const Arrays& in) { return Arrays{means(in[0], first)}; }};
}

// Backward meets the mean of all first, so what lies before `first` must keep what is there.
Case some_and_all(Shape shape, int64_t first) {
  return {"some and all",
          {activation(shape)},
          [=](const Vars& in, DType) {
            return Vars{mean_tokens(in[0], first), mean_tokens(in[0], 0)};
          },
          [=](const Arrays& in) {
            return Arrays{means(in[0], first), means(in[0], 0)};
          }};
}

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("mean_tokens") {
  op.add(mean("without the class token", {3, 17, 37}, 1));
  op.add(mean("all", {2, 9, 96}, 0));
  op.add(mean("the last", {2, 9, 20}, 8));
  op.add(mean("wide", {2, 50, 1100}, 1));
  op.add(some_and_all({2, 5, 20}, 2));
  op.reject("no token left", [] { mean_tokens(f32({2, 5, 8}), 5); });
  op.reject("a negative first", [] { mean_tokens(f32({2, 5, 8}), -1); });
  op.reject("two dimensions", [] { mean_tokens(f32({5, 8}), 0); });
  op.reject("integers", [] { mean_tokens(Var(Tensor({2, 5, 8}, DType::i32)), 0); });
  const Case big = mean("ViT-B, 32 x 197", {32, 197, 768}, 1);
  op.bench({big.name, big.inputs, big.call, 32.0 * 196 * 768 * 4});
}

}  // namespace tessera::test
