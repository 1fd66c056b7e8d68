// Cases of ops/attention.
#include "ops/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

float usual(int64_t width) { return 1.0f / std::sqrt(static_cast<float>(width)); }

Arrays reference(const Arrays& in, int64_t heads, double scale) {
  const Array& x = in[0];
  const int64_t b = x.dim(0), n = x.dim(1), c = x.dim(2) / 3, d = c / heads;
  Array y({b, n, c});
  std::vector<double> p(static_cast<size_t>(n));
  for (int64_t row = 0; row < b * heads * n; ++row) {
    const int64_t i = row % n, h = row / n % heads, image = row / n / heads;
    const auto at = [&](int64_t token, int64_t part, int64_t j) {
      return x[(image * n + token) * 3 * c + part * c + h * d + j];
    };
    double top = -INFINITY, total = 0;
    for (int64_t k = 0; k < n; ++k) {
      double s = 0;
      for (int64_t j = 0; j < d; ++j) s += at(i, 0, j) * at(k, 1, j);
      p[static_cast<size_t>(k)] = s * scale;
      top = std::max(top, s * scale);
    }
    for (double& e : p) total += e = std::exp(e - top);
    for (int64_t j = 0; j < d; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += p[static_cast<size_t>(k)] * at(k, 2, j);
      y[(image * n + i) * c + h * d + j] = sum / total;
    }
  }
  return {y};
}

Case make_case(const std::string& name, In qkv, int heads) {
  const int64_t width = qkv.shape[-1] / 3 / heads;
  return {name,
          {std::move(qkv)},
          [=](const Vars& in, DType) { return Vars{attention(in[0], heads, usual(width))}; },
          [=](const Arrays& in) { return reference(in, heads, static_cast<double>(usual(width))); }};
}

Case sized(int64_t b, int64_t n, int heads, int64_t width) {
  return make_case(std::to_string(n) + " tokens, width " + std::to_string(width),
                   activation({b, n, 3 * heads * width}), heads);
}

// Large components make logits steep: only a small step sees the derivative.
Case steep(const std::string& name, In qkv) {
  Case c = make_case(name, std::move(qkv), 1);
  c.difference_step = 1e-7;
  return c;
}

// One head of width 16; q, k and v of a token from f(part, token, component).
In filled(int64_t n, double (*f)(int64_t part, int64_t token, int64_t j)) {
  return activation({1, n, 48}).filled([=](int64_t i) { return f(i % 48 / 16, i / 48, i % 16); });
}

Bench make_bench(int64_t b, int64_t n, int heads, int64_t width) {
  const double numbers = static_cast<double>(4 * b * n * heads * width);
  return {std::to_string(b) + " x " + std::to_string(n) + " tokens, " + std::to_string(heads) + " x " +
              std::to_string(width),
          {activation({b, n, 3 * heads * width})},
          [=](const Vars& in, DType) { return Vars{attention(in[0], heads, usual(width))}; },
          numbers * 4,
          numbers * 2,
          numbers * static_cast<double>(n)};
}

Var f32(Shape s) { return Var(make_tensor(activation(s), DType::f32, 1)); }

}  // namespace

OPS("attention") {
  op.add(sized(2, 1, 2, 8)).add(sized(2, 2, 3, 5)).add(sized(1, 5, 1, 1)).add(sized(2, 17, 4, 6));
  op.add(sized(2, 17, 3, 24)).add(sized(1, 49, 2, 32)).add(sized(1, 50, 2, 64)).add(sized(1, 65, 1, 80));
  op.add(sized(1, 50, 1, 72)).add(sized(1, 33, 1, 48)).add(sized(1, 16, 2, 96)).add(sized(1, 64, 1, 128));
  op.add(sized(1, 197, 1, 16)).add(sized(1, 257, 1, 7)).add(sized(1, 129, 1, 5)).add(sized(1, 785, 1, 3));
  op.add(sized(1, 513, 1, 2));  // two tasks, whose blocks are larger than blocks of 513 would be
  op.add(sized(1, 9, 1, 200)).add(sized(3, 4, 5, 33));

  // Rows of one logit, +-3e4 apart, and the same over all keys: R14 of the reliability rules.
  op.add(steep("constant rows", filled(37, [](int64_t part, int64_t token, int64_t j) {
                 return part == 2   ? std::sin(static_cast<double>(token * 16 + j))
                        : part == 0 ? static_cast<double>(token)
                                    : 1.0;
               })));
  op.add(steep("one-hot rows, logits to +-3e4", filled(37, [](int64_t part, int64_t token, int64_t j) {
                 if (part == 2) return std::sin(static_cast<double>(token * 16 + j));
                 return part == 0 ? (token % 2 ? 87.0 : -87.0) : static_cast<double>(token * 5 - 87);
               })));
  op.add(steep("close race at logits of 3e4", filled(37, [](int64_t part, int64_t token, int64_t j) {
                 if (part == 2) return std::sin(static_cast<double>(token * 16 + j));
                 if (part == 0) return j == 15 ? 1.0 : 2640.0;
                 return j == 15 ? static_cast<double>(token % 5) : 3.0;
               })));
  op.add(steep("large negative logits", filled(21, [](int64_t part, int64_t token, int64_t j) {
                 if (part == 2) return std::sin(static_cast<double>(token * 16 + j));
                 if (part == 0) return j == 15 ? 1.0 : -2640.0;
                 return j == 15 ? static_cast<double>(token % 7) : 3.0;
               })));

  op.reject("a last dimension that is not 3*H*D", [] { attention(f32({1, 4, 20}), 2, 1.0f); });
  op.reject("no dimension for tokens", [] { attention(f32({4, 24}), 2, 1.0f); });
  op.reject("an empty last dimension", [] { attention(f32({1, 4, 0}), 2, 1.0f); });
  op.reject("no head", [] { attention(f32({1, 4, 24}), 0, 1.0f); });
  op.reject("a negative number of heads", [] { attention(f32({1, 4, 24}), -2, 1.0f); });
  op.reject("integers", [] { attention(Var(Tensor({1, 4, 24}, DType::i32)), 2, 1.0f); });
  op.reject("a scale of zero", [] { attention(f32({1, 4, 24}), 2, 0.0f); });
  op.reject("a scale that is not a number", [] { attention(f32({1, 4, 24}), 2, NAN); });

  op.bench(make_bench(8, 50, 12, 64)).bench(make_bench(8, 197, 12, 64)).bench(make_bench(8, 197, 16, 32));
  op.bench(make_bench(256, 49, 3, 32)).bench(make_bench(1, 785, 2, 64));
  for (int64_t width : {32, 48, 64, 72, 80, 96}) {
    for (int64_t n : {49, 50, 197, 257, 785}) {
      op.bench(make_bench(n < 64 ? 8 : n < 300 ? 2 : 1, n, n < 300 ? 8 : 2, width));
    }
  }
}

}  // namespace tessera::test
