// Cases of ops/concat_tokens.
#include "ops/concat_tokens/concat_tokens.h"

#include <algorithm>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {concat_tokens(in[0], in[1])}; }
Vars twice(const Vars& in, DType) { return {concat_tokens(in[0], in[1]), concat_tokens(in[0], in[1])}; }

Arrays reference(const Arrays& in) {
  const int64_t batch = std::max(in[0].dim(0), in[1].dim(0)), m = in[0].dim(1), n = in[1].dim(1),
                c = in[0].dim(2);
  Array y({batch, m + n, c});
  for (int64_t i = 0; i < y.shape.numel(); ++i) {
    const int64_t b = i / c / (m + n), t = i / c % (m + n);
    const Array& from = t < m ? in[0] : in[1];
    y[i] = from[((from.dim(0) == 1 ? 0 : b) * from.dim(1) + (t < m ? t : t - m)) * c + i % c];
  }
  return {y};
}
Arrays reference_twice(const Arrays& in) { return {reference(in)[0], reference(in)[0]}; }

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("concat_tokens") {
  op.add({"class token", {vector({1, 1, 37}), activation({3, 17, 37})}, call, reference});
  op.add(
      {"class token of the same dtype", {activation({1, 1, 24}), activation({5, 4, 24})}, call, reference});
  op.add({"two batches", {activation({2, 3, 20}), activation({2, 5, 20})}, call, reference});
  op.add({"second broadcast", {activation({4, 3, 20}), vector({1, 2, 20})}, call, reference});
  op.add({"one sample", {vector({1, 1, 20}), vector({1, 6, 20})}, call, reference});
  op.add({"wide", {vector({1, 2, 1500}), activation({3, 9, 1500})}, call, reference});
  op.add({"two uses", {vector({1, 1, 20}), activation({3, 4, 20})}, twice, reference_twice});
  op.reject("another width", [] { concat_tokens(f32({2, 3, 8}), f32({2, 3, 9})); });
  op.reject("another batch", [] { concat_tokens(f32({2, 3, 8}), f32({3, 3, 8})); });
  op.reject("two dimensions", [] { concat_tokens(f32({2, 8}), f32({2, 3, 8})); });
  op.reject("integers", [] { concat_tokens(f32({2, 3, 8}), Var(Tensor({2, 3, 8}, DType::i32))); });
  op.bench({"ViT-B class token, 32 x 196",
            {vector({1, 1, 768}), activation({32, 196, 768})},
            call,
            2.0 * 32 * 196 * 768 * 4,
            1.0 * 32 * 196 * 768 * 6});
}

}  // namespace tessera::test
