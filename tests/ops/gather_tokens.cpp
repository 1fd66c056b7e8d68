// Cases of ops/gather_tokens.
#include "ops/gather_tokens/gather_tokens.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {gather_tokens(in[0], in[1].value())}; }

Arrays reference(const Arrays& in) {
  const Array &x = in[0], &ids = in[1];
  const int64_t n = x.dim(1), c = x.dim(2), k = ids.dim(1);
  Array y({ids.dim(0), k, c});
  for (int64_t i = 0; i < y.shape.numel(); ++i) {
    const int64_t place = i / c, b = x.dim(0) == 1 ? 0 : place / k;
    y[i] = x[(b * n + static_cast<int64_t>(ids[place])) * c + i % c];
  }
  return {y};
}

// Backward meets the second first, so tokens that only it took must keep what is there.
Vars twice(const Vars& in, DType) {
  return {gather_tokens(in[0], in[1].value()), gather_tokens(in[0], in[2].value())};
}
Arrays reference_twice(const Arrays& in) {
  return {reference({in[0], in[1]})[0], reference({in[0], in[2]})[0]};
}

In ids(Shape shape, int64_t limit) {
  return index(shape, [=](int64_t i) { return static_cast<double>((i * 5 + 2) % limit); });
}
Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }
Tensor one_wrong(double value) {
  return make_tensor(index({2, 3}, [=](int64_t i) { return i == 4 ? value : 0.0; }), DType::f32, 0);
}

}  // namespace

OPS("gather_tokens") {
  op.add({"some of each", {activation({3, 17, 37}), ids({3, 5}, 17)}, call, reference});
  op.add({"repeats", {activation({2, 6, 20}), ids({2, 40}, 4)}, call, reference});
  op.add({"one sample for all", {activation({1, 11, 33}), ids({5, 9}, 10)}, call, reference});
  op.add({"wide rows", {activation({2, 5, 2100}), ids({2, 7}, 5)}, call, reference});
  op.add({"two uses", {activation({2, 6, 20}), ids({2, 3}, 6), ids({2, 6}, 6)}, twice, reference_twice});
  op.reject("an index beyond the last", [] { gather_tokens(f32({2, 7, 4}), one_wrong(7)); });
  op.reject("a negative index", [] { gather_tokens(f32({2, 7, 4}), one_wrong(-1)); });
  op.reject("another batch", [] { gather_tokens(f32({3, 7, 4}), one_wrong(0)); });
  op.reject("float ids", [] { gather_tokens(f32({2, 7, 4}), f32({2, 3}).value()); });
  op.reject("two dimensions", [] { gather_tokens(f32({7, 4}), one_wrong(0)); });
  op.reject("integer x", [] { gather_tokens(Var(Tensor({2, 7, 4}, DType::i32)), one_wrong(0)); });
  op.bench({"ViT-B, 49 of 196, batch 32",
            {activation({32, 196, 768}), ids({32, 49}, 196)},
            call,
            2.0 * 32 * 49 * 768 * 4,
            2.0 * 32 * 49 * 768 * 2});
}

}  // namespace tessera::test
