// Cases of ops/gelu.
#include "ops/gelu/gelu.h"

#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {gelu(in[0])}; }
Vars twice(const Vars& in, DType) { return {gelu(in[0]), gelu(in[0])}; }

double exact(double z) { return z * 0.5 * std::erfc(-z / std::sqrt(2.0)); }

Arrays reference(const Arrays& in) {
  Array y(in[0].shape);
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = exact(in[0][i]);
  return {y};
}
Arrays reference_twice(const Arrays& in) { return {reference(in)[0], reference(in)[0]}; }

}  // namespace

OPS("gelu") {
  op.add({"tokens", {activation({2, 17, 96})}, call, reference});
  op.add({"tail", {activation({37})}, call, reference});
  op.add({"wide",
          {activation({3, 40}).filled([](int64_t i) { return static_cast<double>(i - 60) * 0.125; })},
          call,
          reference});
  op.add({"several tasks", {activation({3, 8191})}, call, reference});
  op.add({"two uses", {activation({5, 33})}, twice, reference_twice});
  op.reject("integers", [] { gelu(Var(Tensor({4}, DType::i32))); });
  op.reject("nothing", [] { gelu(Var()); });
  op.bench({"ViT-B MLP, 8 x 50 tokens", {activation({8, 50, 3072})}, call, 2.0 * 8 * 50 * 3072 * 4});
}

}  // namespace tessera::test
