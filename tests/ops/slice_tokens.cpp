// Cases of ops/slice_tokens.
#include "ops/slice_tokens/slice_tokens.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Array rows(const Array& x, int64_t begin, int64_t end) {
  const int64_t m = end - begin, n = x.dim(1), c = x.dim(2);
  Array y({x.dim(0), m, c});
  for (int64_t i = 0; i < y.shape.numel(); ++i) y[i] = x[(i / c / m * n + begin + i / c % m) * c + i % c];
  return y;
}

Case slice(const char* name, Shape shape, int64_t begin, int64_t end) {
  return {name,
          {activation(shape)},
          [=](const Vars& in, DType) { return Vars{slice_tokens(in[0], begin, end)}; },
          [=](const Arrays& in) { return Arrays{rows(in[0], begin, end)}; }};
}

// Backward meets the whole first, so what lies outside the part must keep what is there.
Case part_and_whole(Shape shape, int64_t begin, int64_t end) {
  return {"part and whole",
          {activation(shape)},
          [=](const Vars& in, DType) {
            return Vars{slice_tokens(in[0], begin, end), slice_tokens(in[0], 0, shape[1])};
          },
          [=](const Arrays& in) {
            return Arrays{rows(in[0], begin, end), in[0]};
          }};
}

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("slice_tokens") {
  op.add(slice("class token", {3, 17, 37}, 0, 1));
  op.add(slice("all but it", {3, 17, 37}, 1, 17));
  op.add(slice("middle", {2, 9, 20}, 3, 5));
  op.add(slice("all", {2, 9, 20}, 0, 9));
  op.add(part_and_whole({2, 6, 20}, 1, 4));
  op.reject("nothing", [] { slice_tokens(f32({2, 5, 8}), 3, 3); });
  op.reject("beyond the end", [] { slice_tokens(f32({2, 5, 8}), 3, 6); });
  op.reject("a negative begin", [] { slice_tokens(f32({2, 5, 8}), -1, 2); });
  op.reject("two dimensions", [] { slice_tokens(f32({5, 8}), 0, 1); });
  op.reject("integers", [] { slice_tokens(Var(Tensor({2, 5, 8}, DType::i32)), 0, 1); });
  const Case big = slice("ViT-B without class token, 32 x 197", {32, 197, 768}, 1, 197);
  op.bench({big.name, big.inputs, big.call, 2.0 * 32 * 196 * 768 * 4});
}

}  // namespace tessera::test
