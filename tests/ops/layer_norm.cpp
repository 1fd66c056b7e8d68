// Cases of ops/layer_norm.
#include "ops/layer_norm/layer_norm.h"

#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr float kEps = 1e-6f;

Vars call(const Vars& in, DType t) { return {layer_norm(in[0], in[1], in[2], kEps, t)}; }

Arrays reference(const Arrays& in) {
  const Array &x = in[0], &gamma = in[1], &beta = in[2];
  const int64_t c = x.dim(-1), m = x.shape.numel() / c;
  Array y(x.shape);
  for (int64_t r = 0; r < m; ++r) {
    double mean = 0, var = 0;
    for (int64_t i = 0; i < c; ++i) mean += x[r * c + i] / static_cast<double>(c);
    for (int64_t i = 0; i < c; ++i) var += std::pow(x[r * c + i] - mean, 2) / static_cast<double>(c);
    for (int64_t i = 0; i < c; ++i) {
      y[r * c + i] = (x[r * c + i] - mean) / std::sqrt(var + static_cast<double>(kEps)) * gamma[i] + beta[i];
    }
  }
  return {y};
}

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("layer_norm") {
  op.add({"tokens", {activation({2, 17, 96}), vector({96}), vector({96})}, call, reference});
  op.add({"one row", {activation({1, 5}), vector({5}), vector({5})}, call, reference});
  op.add({"tail", {activation({3, 37}), vector({37}), vector({37})}, call, reference});
  op.add({"many rows", {activation({131, 20}), vector({20}), vector({20})}, call, reference});
  op.add({"f32 in, t out", {vector({7, 24}), vector({24}), vector({24})}, call, reference});
  op.reject("gamma of another width", [] { layer_norm(f32({2, 8}), f32({7}), f32({8}), kEps, DType::f32); });
  op.reject("integer x", [] {
    layer_norm(Var(Tensor({2, 8}, DType::i32)), f32({8}), f32({8}), kEps, DType::f32);
  });
  op.reject("integer y", [] { layer_norm(f32({2, 8}), f32({8}), f32({8}), kEps, DType::i32); });
  op.bench({"ViT-B, 32 x 50 tokens",
            {vector({32, 50, 768}), vector({768}), vector({768})},
            call,
            2.0 * 32 * 50 * 768 * 4,
            1.0 * 32 * 50 * 768 * 6});
}

}  // namespace tessera::test
