// Cases of ops/normalize_patches.
#include "ops/normalize_patches/normalize_patches.h"

#include <cmath>

#include "engine/random.h"
#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {Var(normalize_patches(in[0].value()))}; }

Arrays reference(const Arrays& in) {
  const Array& x = in[0];
  const int64_t p = x.dim(-1), m = x.shape.numel() / p;
  Array y(x.shape);
  for (int64_t r = 0; r < m; ++r) {
    double mean = 0, var = 0;
    for (int64_t i = 0; i < p; ++i) mean += x[r * p + i] / static_cast<double>(p);
    for (int64_t i = 0; i < p; ++i) var += std::pow(x[r * p + i] - mean, 2) / static_cast<double>(p - 1);
    for (int64_t i = 0; i < p; ++i) y[r * p + i] = (x[r * p + i] - mean) / std::sqrt(var + 1e-6);
  }
  return {y};
}

Case patches(const char* name, In x) {
  Case c{name, {x}, call, reference};
  c.bf16 = c.gradient = false;
  return c;
}

// Values near `centre`, spread by `spread`.
In near(Shape shape, double centre, double spread) {
  return fixed(shape).filled([=](int64_t i) {
    return centre + spread * Philox(5, Purpose::test, 0, 0).normal(static_cast<uint64_t>(i));
  });
}

}  // namespace

OPS("normalize_patches") {
  op.add(patches("patches", fixed({2, 9, 48})));
  op.add(patches("tail", fixed({3, 37})));
  op.add(patches("two values", fixed({5, 2})));
  op.add(patches("ViT-B", fixed({20, 768})));
  op.add(patches("nearly flat, far from zero", near({4, 768}, 2.25, 1e-6)));
  op.add(patches("spread like eps", near({4, 192}, -1.7, 1e-3)));
  op.add(patches("flat", near({2, 64}, 0.0, 0.0)));
  op.reject("one value a patch", [] { normalize_patches(Tensor({4, 1}, DType::f32)); });
  op.reject("bf16", [] { normalize_patches(Tensor({4, 8}, DType::bf16)); });
  Bench bench{"ViT-B targets, 32 x 147", {fixed({32, 147, 768})}, call, 2.0 * 32 * 147 * 768 * 4};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
