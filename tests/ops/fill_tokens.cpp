// Cases of ops/fill_tokens.
#include "ops/fill_tokens/fill_tokens.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Case fill(const char* name, int64_t batch, int64_t count, int64_t length, int64_t c, int prefix, int64_t step,
          bool twice = false) {
  const In ids = index({batch, length},
                       [=](int64_t i) {  // step and length share no divisor: a permutation in every row
                         return static_cast<double>((i % length * step + i / length * 3) % length);
                       });
  return {name,
          {activation({batch, prefix + count, c}), vector({c}), ids},
          [=](const Vars& in, DType) {
            Vars out{fill_tokens(in[0], in[1], in[2].value(), prefix)};
            if (twice) out.push_back(fill_tokens(in[0], in[1], in[2].value(), prefix));
            return out;
          },
          [=](const Arrays& in) {
            Array y({batch, prefix + length, c});
            for (int64_t i = 0; i < y.shape.numel(); ++i) {
              const int64_t b = i / c / (prefix + length), n = i / c % (prefix + length);
              const int64_t r = n < prefix ? n
                                           : prefix + static_cast<int64_t>(in[2][b * length + n - prefix]);
              y[i] = r < prefix + count ? in[0][(b * (prefix + count) + r) * c + i % c] : in[1][i % c];
            }
            return twice ? Arrays{y, y} : Arrays{y};
          }};
}

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }
Tensor restore(Shape shape, double last) {
  return make_tensor(
      index(shape,
            [=](int64_t i) { return i == shape.numel() - 1 ? last : static_cast<double>(i % shape[1]); }),
      DType::f32, 0);
}

}  // namespace

OPS("fill_tokens") {
  op.add(fill("class token and patches", 3, 4, 16, 37, 1, 5));
  op.add(fill("no prefix", 2, 5, 9, 20, 0, 4));
  op.add(fill("two before", 2, 3, 8, 16, 2, 3));
  op.add(fill("nothing visible", 2, 0, 6, 20, 1, 5));
  op.add(fill("everything visible", 2, 7, 7, 20, 1, 3));
  op.add(fill("several blocks", 4, 20, 101, 24, 1, 7));
  op.add(fill("two uses", 2, 4, 9, 17, 1, 2, true));
  op.reject("a repeated index", [] { fill_tokens(f32({2, 3, 4}), f32({4}), restore({2, 5}, 0), 1); });
  op.reject("an index beyond the last", [] { fill_tokens(f32({2, 3, 4}), f32({4}), restore({2, 5}, 5), 1); });
  op.reject("a negative index", [] { fill_tokens(f32({2, 3, 4}), f32({4}), restore({2, 5}, -1), 1); });
  op.reject("more visible than places", [] { fill_tokens(f32({2, 7, 4}), f32({4}), restore({2, 5}, 4), 1); });
  op.reject("a prefix longer than all", [] { fill_tokens(f32({2, 3, 4}), f32({4}), restore({2, 5}, 4), 4); });
  op.reject("a negative prefix", [] { fill_tokens(f32({2, 3, 4}), f32({4}), restore({2, 5}, 4), -1); });
  op.reject("a token of another width", [] { fill_tokens(f32({2, 3, 4}), f32({5}), restore({2, 5}, 4), 1); });
  op.reject("another batch", [] { fill_tokens(f32({3, 3, 4}), f32({4}), restore({2, 5}, 4), 1); });
  op.reject("float ids", [] { fill_tokens(f32({2, 3, 4}), f32({4}), f32({2, 5}).value(), 1); });
  Case big = fill("MAE decoder, 49 of 196, batch 32", 32, 49, 196, 512, 1, 5);
  op.bench({big.name, big.inputs, big.call, 32.0 * (50 + 197) * 512 * 4, 32.0 * (50 + 197) * 512 * 2});
}

}  // namespace tessera::test
