// Cases of ops/masked_mse. Inputs: pred, target, mask (left out in the cases without one).
#include "ops/masked_mse/masked_mse.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) {
  return {masked_mse(in[0], in[1].value(), in.size() > 2 ? in[2].value() : Tensor())};
}

// The errors of the rows as a second output, which has no gradient.
Vars call_with_rows(const Vars& in, DType) {
  Tensor rows;
  const Var loss = masked_mse(in[0], in[1].value(), in[2].value(), &rows);
  return {loss, Var(rows)};
}

Arrays reference_with_rows(const Arrays& in) {
  const int64_t p = in[0].dim(-1), m = in[0].shape.numel() / p;
  Array loss({1}), rows(in.size() > 2 ? in[2].shape : Shape({m}));
  double weight = 0;
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t i = 0; i < p; ++i) {
      const double d = in[0][r * p + i] - in[1][r * p + i];
      rows[r] += d * d / static_cast<double>(p);
    }
    const double w = in.size() > 2 ? in[2][r] : 1.0;
    loss[0] += w * rows[r];
    weight += w;
  }
  loss[0] /= weight;
  return {loss, rows};
}

Arrays reference(const Arrays& in) { return {reference_with_rows(in)[0]}; }

In half_masked(Shape shape) {
  return fixed(shape).filled([](int64_t i) { return i % 4 == 1 ? 0.0 : 1.0; });
}
Tensor zeros(Shape s, DType t) {
  return make_tensor(fixed(s).filled([](int64_t) { return 0.0; }), DType::f32, 0).to(t);
}
Var pred() { return Var(zeros({2, 3, 8}, DType::f32)); }

}  // namespace

OPS("masked_mse") {
  op.add({"masked", {activation({2, 9, 48}), fixed({2, 9, 48}), half_masked({2, 9})}, call, reference});
  op.add({"no mask", {activation({3, 5, 37}), fixed({3, 5, 37})}, call, reference});
  op.add({"many rows", {activation({1, 71, 20}), fixed({1, 71, 20}), half_masked({1, 71})}, call, reference});
  op.add({"one value", {activation({1, 1, 1}), fixed({1, 1, 1})}, call, reference});
  Case rows{"row errors",
            {activation({2, 9, 48}), fixed({2, 9, 48}), half_masked({2, 9})},
            call_with_rows,
            reference_with_rows};
  rows.gradient = false;
  op.add(rows);
  op.reject("target of another shape", [] { masked_mse(pred(), zeros({2, 4, 8}, DType::f32), {}); });
  op.reject("bf16 target", [] { masked_mse(pred(), zeros({2, 3, 8}, DType::bf16), {}); });
  op.reject("no target", [] { masked_mse(pred(), {}, {}); });
  op.reject("integer pred", [] {
    masked_mse(Var(Tensor({1, 8}, DType::i32)), zeros({1, 8}, DType::f32), {});
  });
  op.reject("mask of another length", [] {
    masked_mse(pred(), zeros({2, 3, 8}, DType::f32), zeros({5}, DType::f32));
  });
  op.reject("mask that hides nothing", [] {
    masked_mse(pred(), zeros({2, 3, 8}, DType::f32), zeros({2, 3}, DType::f32));
  });
  op.bench({"ViT-B targets, 32 x 147",
            {activation({32, 147, 768}), fixed({32, 147, 768})},
            call,
            2.0 * 32 * 147 * 768 * 4,
            1.0 * 32 * 147 * 768 * 6});
}

}  // namespace tessera::test
