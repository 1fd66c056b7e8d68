// Cases of ops/cross_entropy. Inputs: logits, target (i32 labels or f32 soft targets).
#include "ops/cross_entropy/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr float kSmoothing = 0.1f;

Vars call(const Vars& in, DType) { return {cross_entropy(in[0], in[1].value())}; }
Vars call_smooth(const Vars& in, DType) { return {cross_entropy(in[0], in[1].value(), kSmoothing)}; }

Arrays soft_reference(const Array& z, const Array& t) {
  const int64_t b = z.dim(0), k = z.dim(1);
  Array loss({1});
  for (int64_t r = 0; r < b; ++r) {
    double top = z[r * k], total = 0;
    for (int64_t i = 0; i < k; ++i) top = std::max(top, z[r * k + i]);
    for (int64_t i = 0; i < k; ++i) total += std::exp(z[r * k + i] - top);
    for (int64_t i = 0; i < k; ++i) {
      loss[0] -= t[r * k + i] * (z[r * k + i] - top - std::log(total)) / static_cast<double>(b);
    }
  }
  return {loss};
}

Arrays label_reference(const Arrays& in, double smoothing) {
  const int64_t b = in[0].dim(0), k = in[0].dim(1);
  Array t({b, k});
  for (int64_t r = 0; r < b; ++r) {
    for (int64_t i = 0; i < k; ++i) t[r * k + i] = smoothing / static_cast<double>(k);
    t[r * k + static_cast<int64_t>(in[1][r])] += 1.0 - smoothing;
  }
  return soft_reference(in[0], t);
}
Arrays hard(const Arrays& in) { return label_reference(in, 0.0); }
Arrays smooth(const Arrays& in) { return label_reference(in, static_cast<double>(kSmoothing)); }
Arrays soft(const Arrays& in) { return soft_reference(in[0], in[1]); }

In labels(int64_t b, int64_t k) {
  return index({b}, [=](int64_t i) { return static_cast<double>((i * 7 + 3) % k); });
}
In shares(Shape shape) {
  return fixed(shape).filled([](int64_t i) { return static_cast<double>((i * 5) % 11) / 16.0; });
}
In large(Shape shape) {
  return activation(shape).filled([](int64_t i) { return 1000.0 + static_cast<double>((i * 13) % 7); });
}
Var logits(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }
Tensor labels_of(std::initializer_list<int> v) {
  Tensor t({std::ssize(v)}, DType::i32);
  std::copy(v.begin(), v.end(), t.data<int32_t>());
  return t;
}

}  // namespace

OPS("cross_entropy") {
  op.add({"labels", {activation({6, 10}), labels(6, 10)}, call, hard});
  op.add({"labels, tail", {activation({5, 37}), labels(5, 37)}, call, hard});
  op.add({"labels, many rows", {activation({1700, 20}), labels(1700, 20)}, call, hard});
  op.add({"labels, smoothing", {activation({6, 37}), labels(6, 37)}, call_smooth, smooth});
  op.add({"one class", {activation({3, 1}), labels(3, 1)}, call, hard});
  op.add({"soft targets", {activation({4, 37}), shares({4, 37})}, call, soft});
  Case far{"large logits", {large({4, 33}), labels(4, 33)}, call, hard};
  far.difference_step = 1e-7;  // it is relative to the logits, which are about 1000
  op.add(far);
  op.reject("label too large", [] { cross_entropy(logits({2, 3}), labels_of({0, 3})); });
  op.reject("negative label", [] { cross_entropy(logits({2, 3}), labels_of({-1, 0})); });
  op.reject("labels of another batch", [] { cross_entropy(logits({2, 3}), labels_of({0, 1, 2})); });
  op.reject("soft targets of another shape", [] {
    cross_entropy(logits({2, 3}), make_tensor(fixed({2, 4}), DType::f32, 1));
  });
  op.reject("smoothed soft targets", [] {
    cross_entropy(logits({2, 3}), make_tensor(fixed({2, 3}), DType::f32, 1), 0.1f);
  });
  op.reject("smoothing above 1", [] { cross_entropy(logits({1, 3}), labels_of({0}), 1.5f); });
  op.reject("logits of rank 3", [] { cross_entropy(logits({1, 2, 3}), labels_of({0})); });
  op.bench(
      {"ImageNet head, 256 x 1000", {activation({256, 1000}), labels(256, 1000)}, call, 256.0 * 1000 * 4});
}

}  // namespace tessera::test
