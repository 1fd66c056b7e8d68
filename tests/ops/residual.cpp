// Cases of ops/residual.
#include "ops/residual/residual.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars plain(const Vars& in, DType) { return {residual(in[0], in[1])}; }
Vars dropped(const Vars& in, DType) { return {residual(in[0], in[1], in[2].value())}; }
Vars twice(const Vars& in, DType) {
  return {residual(in[0], in[1], in[2].value()), residual(in[0], in[1], in[2].value())};
}

Arrays reference(const Arrays& in) {
  Array y = in[0];
  const int64_t inner = y.shape.numel() / y.dim(0);
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] += in[1][i] * (in.size() > 2 ? in[2][i / inner] : 1.0);
  return {y};
}
Arrays reference_twice(const Arrays& in) { return {reference(in)[0], reference(in)[0]}; }

In factors(int64_t batch) {
  return fixed({batch}).filled([](int64_t i) { return i % 3 == 1 ? 0.0 : 1.25; });
}
Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("residual") {
  op.add({"plain", {vector({2, 17, 96}), activation({2, 17, 96})}, plain, reference});
  op.add({"stochastic depth", {vector({4, 5, 37}), activation({4, 5, 37}), factors(4)}, dropped, reference});
  op.add({"bf16 stream", {activation({3, 40}), activation({3, 40}), factors(3)}, dropped, reference});
  op.add({"several tasks", {vector({3, 9000}), activation({3, 9000}), factors(3)}, dropped, reference});
  op.add({"two uses", {vector({3, 35}), activation({3, 35}), factors(3)}, twice, reference_twice});
  op.reject("another shape", [] { residual(f32({2, 8}), f32({2, 9})); });
  op.reject("keep of another batch", [] { residual(f32({2, 8}), f32({2, 8}), f32({3}).value()); });
  op.reject("integer keep", [] { residual(f32({2, 8}), f32({2, 8}), Tensor({2}, DType::i32)); });
  op.reject("integer x", [] { residual(Var(Tensor({2, 8}, DType::i32)), f32({2, 8})); });
  op.reject("rate 1", [] { drop_path_keep(1, 0, 0, 2, 0, 1.0); });
  op.bench({"ViT-B, 32 x 50 tokens",
            {vector({32, 50, 768}), activation({32, 50, 768})},
            plain,
            3.0 * 32 * 50 * 768 * 4,
            1.0 * 32 * 50 * 768 * 10});
}

}  // namespace tessera::test
