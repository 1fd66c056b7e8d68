// Cases of ops/argsort_rows.
#include "ops/argsort_rows/argsort_rows.h"

#include <limits>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) {
  const Order order = argsort_rows(in[0].value());
  return {Var(order.shuffle), Var(order.restore)};
}

// A value's rank is the number of values before it: smaller ones, and equal ones at smaller positions.
Arrays reference(const Arrays& in) {
  const Array& x = in[0];
  const int64_t b = x.dim(0), l = x.dim(1);
  Array shuffle(x.shape), restore(x.shape);
  for (int64_t r = 0; r < b; ++r) {
    for (int64_t n = 0; n < l; ++n) {
      int64_t rank = 0;
      for (int64_t o = 0; o < l; ++o) {
        rank += x[r * l + o] < x[r * l + n] || (x[r * l + o] == x[r * l + n] && o < n) ? 1 : 0;
      }
      restore[r * l + n] = static_cast<double>(rank);
      shuffle[r * l + rank] = static_cast<double>(n);
    }
  }
  return {shuffle, restore};
}

Case rows(const char* name, In noise) {
  Case c{name, {noise}, call, reference};
  c.bf16 = c.gradient = false;
  return c;
}

}  // namespace

OPS("argsort_rows") {
  op.add(rows("noise of both signs", fixed({5, 196})));
  op.add(rows("one position", fixed({3, 1})));
  op.add(rows("ties", fixed({4, 50}).filled([](int64_t i) { return static_cast<double>(i * 7 % 5 - 2); })));
  op.add(
      rows("zeros of both signs", fixed({1, 9}).filled([](int64_t i) { return i % 2 == 0 ? 0.0 : -0.0; })));
  op.add(rows("infinities", fixed({2, 6}).filled([](int64_t i) {
    const double inf = std::numeric_limits<double>::infinity();
    return i % 3 == 0 ? inf : i % 3 == 1 ? -inf : 1e-40;
  })));
  op.reject("NaN", [] {
    argsort_rows(make_tensor(fixed({2, 3}).filled([](int64_t i) {
      return i == 4 ? std::numeric_limits<double>::quiet_NaN() : 0.0;
    }),
                             DType::f32, 0));
  });
  op.reject("rank 1", [] { argsort_rows(Tensor({4}, DType::f32)); });
  op.reject("bf16", [] { argsort_rows(Tensor({2, 4}, DType::bf16)); });
  Bench bench{"ViT-B masks, 256 x 196", {fixed({256, 196})}, call, 256.0 * 196 * 12};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
