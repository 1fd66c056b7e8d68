// Cases of ops/normalize_images.
#include "ops/normalize_images/normalize_images.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

const std::vector<float> kMean{0.485f, 0.456f, 0.406f, 0.5f, 0.1f};
const std::vector<float> kStd{0.229f, 0.224f, 0.225f, 1.0f, 0.3f};

std::vector<float> first(const std::vector<float>& v, int64_t c) { return {v.begin(), v.begin() + c}; }

Vars call(const Vars& in, DType) {
  const int64_t c = in[0].dim(3);
  return {Var(normalize_images(in[0].value(), first(kMean, c), first(kStd, c)))};
}

Arrays reference(const Arrays& in) {
  const Array& x = in[0];
  const int64_t b = x.dim(0), h = x.dim(1), w = x.dim(2), c = x.dim(3);
  Array y({b, c, h, w});
  for (int64_t n = 0; n < b; ++n) {
    for (int64_t k = 0; k < c; ++k) {
      const size_t channel = static_cast<size_t>(k);
      for (int64_t i = 0; i < h * w; ++i) {
        y[(n * c + k) * h * w + i] = (x[(n * h * w + i) * c + k] / 255.0 -
                                      static_cast<double>(kMean[channel])) /
                                     static_cast<double>(kStd[channel]);
      }
    }
  }
  return {y};
}

Case images(const char* name, Shape shape) {
  Case c{name, {pixels(shape)}, call, reference};
  c.bf16 = c.gradient = false;
  return c;
}

}  // namespace

OPS("normalize_images") {
  op.add(images("colour", {2, 5, 7, 3}));
  op.add(images("one channel", {3, 4, 4, 1}));
  op.add(images("four channels", {1, 6, 5, 4}));
  op.add(images("several tasks an image", {2, 67, 71, 3}));
  op.reject("float images", [] {
    normalize_images(Tensor({1, 2, 2, 3}, DType::f32), first(kMean, 3), first(kStd, 3));
  });
  op.reject("no batch", [] {
    normalize_images(Tensor({2, 2, 3}, DType::u8), first(kMean, 3), first(kStd, 3));
  });
  op.reject("mean of another length", [] {
    normalize_images(Tensor({1, 2, 2, 3}, DType::u8), first(kMean, 1), first(kStd, 3));
  });
  op.reject("std zero", [] { normalize_images(Tensor({1, 2, 2, 1}, DType::u8), {0.5f}, {0.0f}); });
  Bench bench{"32 x 224 x 224 colour", {pixels({32, 224, 224, 3})}, call, 32.0 * 224 * 224 * 3 * 5};
  bench.backward = bench.bf16 = false;
  op.bench(bench);
}

}  // namespace tessera::test
