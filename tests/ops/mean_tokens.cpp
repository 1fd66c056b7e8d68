// Cases of ops/mean_tokens.
#include "ops/mean_tokens/mean_tokens.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Case mean(const char* name, Shape shape, int64_t first, bool twice = false) {
  return {name,
          {activation(shape)},
          [=](const Vars& in, DType) {
            Vars out{mean_tokens(in[0], first)};
            if (twice) out.push_back(mean_tokens(in[0], first));
            return out;
          },
          [=](const Arrays& in) {
            const int64_t n = shape[1], c = shape[2];
            Array y({shape[0], c});
            for (int64_t i = 0; i < y.shape.numel(); ++i) {
              for (int64_t t = first; t < n; ++t)
                y[i] += in[0][(i / c * n + t) * c + i % c] / static_cast<double>(n - first);
            }
            return twice ? Arrays{y, y} : Arrays{y};
          }};
}

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

}  // namespace

OPS("mean_tokens") {
  op.add(mean("without the class token", {3, 17, 37}, 1));
  op.add(mean("all", {2, 9, 96}, 0));
  op.add(mean("the last", {2, 9, 20}, 8));
  op.add(mean("wide", {2, 50, 1100}, 1));
  op.add(mean("two uses", {2, 5, 20}, 2, true));
  op.reject("no token left", [] { mean_tokens(f32({2, 5, 8}), 5); });
  op.reject("a negative first", [] { mean_tokens(f32({2, 5, 8}), -1); });
  op.reject("two dimensions", [] { mean_tokens(f32({5, 8}), 0); });
  op.reject("integers", [] { mean_tokens(Var(Tensor({2, 5, 8}, DType::i32)), 0); });
  const Case big = mean("ViT-B, 32 x 197", {32, 197, 768}, 1);
  op.bench({big.name, big.inputs, big.call, 32.0 * 196 * 768 * 4});
}

}  // namespace tessera::test
