// Cases of ops/add.
#include "ops/add/add.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {add(in[0], in[1])}; }
Vars twice(const Vars& in, DType) { return {add(in[0], in[1]), add(in[0], in[1])}; }

Arrays reference(const Arrays& in) {
  Array y = in[0];
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] += in[1][i % in[1].shape.numel()];
  return {y};
}
Arrays reference_twice(const Arrays& in) { return {reference(in)[0], reference(in)[0]}; }

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("add") {
  op.add({"same shape", {activation({2, 17, 96}), activation({2, 17, 96})}, call, reference});
  op.add({"position table", {activation({3, 17, 37}), vector({1, 17, 37})}, call, reference});
  op.add({"f32 x, broadcast t", {vector({3, 5, 20}), activation({1, 5, 20})}, call, reference});
  op.add({"f32 x, t p", {vector({3, 5, 20}), activation({3, 5, 20})}, call, reference});
  op.add({"several tasks", {activation({5, 9001}), vector({1, 9001})}, call, reference});
  op.add({"two uses", {activation({3, 7, 11}), vector({1, 7, 11})}, twice, reference_twice});
  op.reject("another width", [] { add(f32({2, 3, 8}), f32({1, 3, 9})); });
  op.reject("broadcast over tokens", [] { add(f32({2, 3, 8}), f32({2, 1, 8})); });
  op.reject("another rank", [] { add(f32({2, 3, 8}), f32({3, 8})); });
  op.reject("integers", [] { add(f32({2, 8}), Var(Tensor({2, 8}, DType::i32))); });
  op.bench({"ViT-B positions, 32 x 196 tokens",
            {activation({32, 196, 768}), vector({1, 196, 768})},
            call,
            2.0 * 32 * 196 * 768 * 4,
            1.0 * 32 * 196 * 768 * 6});
}

}  // namespace tessera::test
