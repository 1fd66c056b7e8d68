// Cases of ops/linear.
#include "ops/linear/linear.h"

#include <memory>

#include "autograd/param.h"
#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

Vars call(const Vars& in, DType) { return {linear(in[0], in[1], in.size() > 2 ? in[2] : Var())}; }
Vars call_f32(const Vars& in, DType) { return {linear(in[0], in[1], in[2], DType::f32)}; }
// The same weights twice: their gradients meet.
Vars call_twice(const Vars& in, DType) { return {linear(linear(in[0], in[1], in[2]), in[1], in[2])}; }

Array affine(const Array& x, const Array& w, const Array* bias) {
  const int64_t n = w.dim(0), k = w.dim(1), m = x.shape.numel() / k;
  Array y(x.shape.with_last(n));
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias != nullptr ? (*bias)[j] : 0;
      for (int64_t i = 0; i < k; ++i) sum += x[r * k + i] * w[j * k + i];
      y[r * n + j] = sum;
    }
  }
  return y;
}

Arrays reference(const Arrays& in) { return {affine(in[0], in[1], in.size() > 2 ? &in[2] : nullptr)}; }
Arrays reference_twice(const Arrays& in) { return {affine(affine(in[0], in[1], &in[2]), in[1], &in[2])}; }

Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }

// A layer as a model owns it: its weights lie in slabs, so the gemm door packs them.
struct Layer {
  ParamStore store;
  Param *w, *b;
  Layer(int64_t n, int64_t k, DType t) : store(Precision{t}) {
    const Scope scope(store);
    w = &scope.param("weight", {n, k}, Init::gaussian(0.02), Decay::yes, Use::matrix);
    b = &scope.param("bias", {n}, Init::gaussian(0.02), Decay::no, Use::vector);
    store.freeze(1);
  }
};

// One layer lives at a time: the rows of a bench follow each other, and all layers together would be large.
Layer& layer_of(int64_t n, int64_t k, DType t) {
  static std::unique_ptr<Layer> layer;
  if (!layer || layer->w->shape != Shape({n, k}) || layer->store.precision().compute != t) {
    layer = std::make_unique<Layer>(n, k, t);
  }
  return *layer;
}

void bench(OpCase& op, const char* name, int64_t tokens, int64_t n, int64_t k) {
  const double m = static_cast<double>(tokens), cols = static_cast<double>(n), inner = static_cast<double>(k);
  const double elements = m * inner + cols * inner + m * cols;
  const auto layer_call = [n, k](const Vars& in, DType t) {
    Layer& layer = layer_of(n, k, t);
    layer.store.begin_gradients();
    return Vars{linear(in[0], *layer.w, *layer.b)};
  };
  op.bench({std::string(name) + ", " + std::to_string(tokens) + " tokens",
            {activation({tokens, k})},
            layer_call,
            4 * elements,
            2 * elements,
            2 * m * cols * inner});
}

}  // namespace

OPS("linear") {
  op.add({"tokens", {activation({2, 17, 32}), activation({48, 32}), vector({48})}, call, reference});
  op.add({"one row", {activation({1, 5}), activation({3, 5}), vector({3})}, call, reference});
  op.add({"a vector", {activation({7}), activation({4, 7}), vector({4})}, call, reference});
  op.add({"one output, one input", {activation({6, 1}), activation({1, 1}), vector({1})}, call, reference});
  op.add({"odd sizes", {activation({3, 17, 23}), activation({17, 23}), vector({17})}, call, reference});
  op.add({"several tasks", {activation({2, 99, 70}), activation({65, 70}), vector({65})}, call, reference});
  op.add({"no bias", {activation({5, 24}), activation({9, 24})}, call, reference});
  op.add({"f32 out", {activation({4, 19}), activation({8, 19}), vector({8})}, call_f32, reference});
  op.add({"constant x", {activation({4, 19}).constant(), activation({8, 19}), vector({8})}, call, reference});
  op.add({"constant w",
          {activation({4, 19}), activation({8, 19}).constant(), vector({8}).constant()},
          call,
          reference});
  op.add({"weights used twice",
          {activation({6, 12}), activation({12, 12}), vector({12})},
          call_twice,
          reference_twice});
  op.reject("w of another width", [] { linear(f32({2, 8}), f32({4, 7}), f32({4})); });
  op.reject("w of rank 1", [] { linear(f32({2, 8}), f32({8}), f32({4})); });
  op.reject("bias of another width", [] { linear(f32({2, 8}), f32({4, 8}), f32({8})); });
  op.reject("no rows", [] { linear(f32({0, 8}), f32({4, 8}), f32({4})); });
  op.reject("mixed dtypes", [] { linear(f32({2, 8}), Var(Tensor({4, 8}, DType::bf16)), f32({4})); });
  op.reject("f32 in, bf16 out", [] { linear(f32({2, 8}), f32({4, 8}), f32({4}), DType::bf16); });
  op.reject("integer x", [] {
    linear(Var(Tensor({2, 8}, DType::i32)), Var(Tensor({4, 8}, DType::i32)), f32({4}));
  });
  for (int64_t tokens : {400, 1600}) {
    bench(op, "ViT-B qkv", tokens, 2304, 768);
    bench(op, "ViT-B proj", tokens, 768, 768);
    bench(op, "ViT-B fc1", tokens, 3072, 768);
    bench(op, "ViT-B fc2", tokens, 768, 3072);
  }
  bench(op, "MAE decoder qkv", 1576, 1536, 512);
  bench(op, "MAE decoder fc1", 1576, 2048, 512);
  bench(op, "MAE decoder fc2", 1576, 512, 2048);
}

}  // namespace tessera::test
