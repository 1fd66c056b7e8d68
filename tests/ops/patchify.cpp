// Cases of ops/patchify: both orders, kept patches, and the inverse.
#include "ops/patchify/patchify.h"

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

// The pixel (index into images [B,C,H,W]) that belongs at element q of the token for patch n of sample b.
int64_t pixel(const Shape& images, int64_t ph, int64_t pw, PatchOrder order, int64_t b, int64_t n,
              int64_t q) {
  const int64_t channels = images[1], height = images[2], width = images[3], columns = width / pw;
  int64_t c, i, j;
  if (order == PatchOrder::channel_first) {
    c = q / (ph * pw), i = q / pw % ph, j = q % pw;
  } else {
    c = q % channels, j = q / channels % pw, i = q / channels / pw;
  }
  return ((b * channels + c) * height + n / columns * ph + i) * width + n % columns * pw + j;
}

Case patches(const char* name, Shape images, int ph, int pw, PatchOrder order) {
  return {name,
          {vector(images)},
          [=](const Vars& in, DType t) { return Vars{patchify(in[0], ph, pw, order, t)}; },
          [=](const Arrays& in) {
            const int64_t count = images[2] / ph * (images[3] / pw), size = images[1] * ph * pw;
            Array y({images[0], count, size});
            for (int64_t k = 0; k < y.shape.numel(); ++k) {
              y[k] = in[0][pixel(images, ph, pw, order, k / size / count, k / size % count, k % size)];
            }
            return Arrays{y};
          }};
}

Case kept(const char* name, Shape images, int ph, int pw, PatchOrder order, int64_t count, In ids) {
  return {name,
          {activation(images), ids},
          [=](const Vars& in, DType t) { return Vars{patchify(in[0], ph, pw, order, t, in[1].value())}; },
          [=](const Arrays& in) {
            const int64_t size = images[1] * ph * pw;
            Array y({images[0], count, size});
            for (int64_t k = 0; k < y.shape.numel(); ++k) {
              const auto n = static_cast<int64_t>(in[1][k / size]);
              y[k] = in[0][pixel(images, ph, pw, order, k / size / count, n, k % size)];
            }
            return Arrays{y};
          }};
}

Case inverse(const char* name, Shape images, int ph, int pw, PatchOrder order) {
  const int64_t count = images[2] / ph * (images[3] / pw), size = images[1] * ph * pw;
  return {name,
          {activation({images[0], count, size})},
          [=](const Vars& in, DType) {
            return Vars{unpatchify(in[0], order, images[1], images[2], images[3], ph, pw)};
          },
          [=](const Arrays& in) {
            Array y(images);
            for (int64_t k = 0; k < in[0].shape.numel(); ++k) {
              y[pixel(images, ph, pw, order, k / size / count, k / size % count, k % size)] = in[0][k];
            }
            return Arrays{y};
          }};
}

In any_of(Shape shape, int64_t limit) {
  return index(shape, [=](int64_t i) { return static_cast<double>((i * 7 + 3) % limit); });
}
Var f32(Shape s) { return Var(make_tensor(vector(s), DType::f32, 1)); }
constexpr PatchOrder kFirst = PatchOrder::channel_first, kLast = PatchOrder::channel_last;

}  // namespace

OPS("patchify") {
  op.add(patches("channel first", {2, 3, 32, 48}, 16, 16, kFirst));
  op.add(patches("channel last", {2, 3, 32, 48}, 16, 16, kLast));
  op.add(patches("one channel", {2, 1, 28, 28}, 4, 4, kLast));
  op.add(patches("odd patches, four channels", {1, 4, 9, 20}, 3, 5, kFirst));
  op.add(patches("odd patches, four channels, last", {1, 4, 9, 20}, 3, 5, kLast));
  op.add(patches("many patches", {3, 2, 40, 44}, 2, 2, kLast));
  op.add(kept("kept", {2, 3, 24, 16}, 8, 4, kFirst, 5, any_of({2, 5}, 12)));
  op.add(kept("kept, repeated, last", {2, 2, 6, 8}, 2, 2, kLast, 7, any_of({2, 7}, 4)));
  const auto call = [](const Shape& images, int ph, int pw) {
    patchify(f32(images), ph, pw, kFirst, DType::f32);
  };
  op.reject("a patch that does not divide the height", [=] { call({1, 3, 30, 32}, 16, 16); });
  op.reject("a patch that does not divide the width", [=] { call({1, 3, 32, 30}, 16, 16); });
  op.reject("an empty picture", [=] { call({1, 3, 0, 32}, 16, 16); });
  op.reject("an empty patch", [=] { call({1, 3, 32, 32}, 0, 16); });
  op.reject("a picture without channels", [=] { call({3, 32, 32}, 16, 16); });
  op.reject("integer tokens", [] { patchify(f32({1, 3, 4, 4}), 2, 2, kFirst, DType::i32); });
  op.reject("bytes", [] { patchify(Var(Tensor({1, 3, 4, 4}, DType::u8)), 2, 2, kFirst, DType::f32); });
  const auto keep = [](const In& ids) {
    patchify(f32({2, 3, 4, 4}), 2, 2, kFirst, DType::f32, make_tensor(ids, DType::f32, 0));
  };
  op.reject("a kept patch beyond the last", [=] {
    keep(index({2, 2}, [](int64_t i) { return static_cast<double>(i + 1); }));
  });
  op.reject("a negative kept patch", [=] {
    keep(index({2, 2}, [](int64_t i) { return static_cast<double>(i - 1); }));
  });
  op.reject("keep of another batch", [=] { keep(any_of({1, 2}, 4)); });
  op.reject("float keep", [=] { keep(fixed({2, 2})); });
  const double bytes = 2.0 * 32 * 3 * 224 * 224 * 4;
  for (PatchOrder order : {kFirst, kLast}) {
    op.bench({order == kFirst ? "32 x 224, channel first" : "32 x 224, channel last",
              {fixed({32, 3, 224, 224})},
              [=](const Vars& in, DType t) { return Vars{patchify(in[0], 16, 16, order, t)}; },
              bytes,
              bytes * 0.75,
              0,
              false});
  }
}

OPS("unpatchify") {
  op.add(inverse("channel first", {2, 3, 32, 48}, 16, 16, kFirst));
  op.add(inverse("channel last", {2, 3, 32, 48}, 16, 16, kLast));
  op.add(inverse("odd patches", {2, 4, 9, 20}, 3, 5, kLast));
  op.reject("another width", [] { unpatchify(f32({1, 4, 13}), kLast, 3, 4, 4, 2, 2); });
  op.reject("another count", [] { unpatchify(f32({1, 5, 12}), kLast, 3, 4, 4, 2, 2); });
  op.reject("a patch that does not divide", [] { unpatchify(f32({1, 4, 12}), kLast, 3, 5, 4, 2, 2); });
  op.reject("integers", [] { unpatchify(Var(Tensor({1, 4, 12}, DType::i32)), kLast, 3, 4, 4, 2, 2); });
}

}  // namespace tessera::test
