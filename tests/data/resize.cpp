// data/resize: equal to Pillow bit for bit (fixtures), and a part equal to that part of the whole.
#include "data/resize.h"

#include <doctest/doctest.h>

#include <cstdio>

#include "data/augment.h"
#include "data/normalize.h"
#include "engine/safetensors.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

Picture cut_picture(const Picture& p, Box box) {
  Picture out(box.height, box.width, p.channels());
  const std::vector<uint8_t> bytes = cut(p, box);
  std::copy(bytes.begin(), bytes.end(), out.data());
  return out;
}

Picture resized(const Picture& in, Size to, Filter filter) {
  Picture out;
  resize(in, to, filter, out);
  return out;
}

}  // namespace

TEST_CASE("data/resize: fixture img_resize, crops, filters and flips") {
  const SafeTensors fixture = load_safetensors(golden("img_resize.safetensors"));
  int resizes = 0, flips = 0;
  for (const auto& [name, expected] : fixture.tensors) {
    CAPTURE(name);
    char image[64];
    int top, left, height, width, to_height, to_width;
    char filter[16];
    if (std::sscanf(name.c_str(), "out.resize.%63[^.].crop%d_%d_%d_%d.to%dx%d.%15s", image, &top, &left,
                    &height, &width, &to_height, &to_width, filter) == 8) {
      const Picture in = cut_picture(picture_of(fixture.at("input.img." + std::string(image))),
                                     {top, left, height, width});
      const Filter f = std::string(filter) == "bicubic" ? Filter::bicubic : Filter::bilinear;
      CHECK(bytes_of(resized(in, {to_height, to_width}, f)) == bytes_of(expected));
      ++resizes;
    } else if (std::sscanf(name.c_str(), "out.hflip.%63[^.]", image) == 1) {
      const Picture in = picture_of(fixture.at("input.img." + std::string(image)));
      Picture out(in.height(), in.width(), in.channels());
      for (int y = 0; y < in.height(); ++y) flip_row(out.row(y), in.row(y), in.width(), in.channels());
      CHECK(bytes_of(out) == bytes_of(expected));
      ++flips;
    } else {
      CHECK(name.rfind("input.img.", 0) == 0);
    }
  }
  CHECK(resizes == 32);
  CHECK(flips == 6);
}

TEST_CASE("data/resize: fixture img_eval, shorter side, centre crop and normalisation") {
  const SafeTensors fixture = load_safetensors(golden("img_eval.safetensors"));
  const ChannelStats stats = imagenet_stats();
  int crops = 0;
  for (const auto& [name, expected] : fixture.tensors) {
    CAPTURE(name);
    char image[64];
    int shorter, crop;
    if (std::sscanf(name.c_str(), "out.eval.%63[^.].resize%d.crop%d", image, &shorter, &crop) != 3) continue;
    const Picture in = picture_of(fixture.at("input.img." + std::string(image)));
    const Size from = {in.height(), in.width()};
    const CentreCrop centre = centre_crop(from, shorter, {crop, crop});
    CHECK(centre.pad_top == 0);
    CHECK(centre.pad_left == 0);
    // As the loader does it: only what the crop needs.
    const Box have = resize_footprint(from, centre.resized, centre.kept, Filter::bicubic);
    Picture out;
    resize_part(cut_picture(in, have), have, from, centre.resized, centre.kept, Filter::bicubic, out);
    CHECK(bytes_of(out) == bytes_of(expected));
    ++crops;

    const Tensor& normalised = fixture.at("out.eval_norm." + name.substr(9));
    for (size_t c = 0; c < 3; ++c) {
      for (size_t i = 0; i < out.size() / 3; ++i) {
        const float value = (static_cast<float>(out.data()[3 * i + c]) / 255 - stats.mean[c]) / stats.std[c];
        REQUIRE(value == doctest::Approx(normalised.data<float>()[c * out.size() / 3 + i]).epsilon(1e-6));
      }
    }
  }
  CHECK(crops == 6);
}

TEST_CASE("data/resize: a part equals that part of the whole, for 1 to 4 channels") {
  for (const int channels : {1, 2, 3, 4}) {
    for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
      for (const auto& [from, to] : {std::pair{Size{61, 47}, Size{20, 33}},
                                     {Size{20, 31}, Size{45, 31}},
                                     {Size{33, 20}, Size{33, 7}},
                                     {Size{9, 8}, Size{9, 8}},
                                     {Size{200, 3}, Size{1, 5}}}) {
        const Picture in = test_picture(from.height, from.width, channels, 11);
        const Picture whole = resized(in, to, filter);
        for (const Box keep :
             {Box{0, 0, 1, 1}, Box{to.height / 2, to.width / 3, to.height - to.height / 2, 2},
              Box{to.height - 1, 0, 1, to.width}}) {
          const Box have = resize_footprint(from, to, keep, filter);
          Picture part;
          resize_part(cut_picture(in, have), have, from, to, keep, filter, part);
          CHECK(bytes_of(part) == cut(whole, keep));
        }
      }
    }
  }
}

TEST_CASE("data/resize: channels are independent") {
  const Picture four = test_picture(31, 22, 4, 12);
  const std::vector<uint8_t> together = bytes_of(resized(four, {17, 40}, Filter::bicubic));
  for (int c = 0; c < 4; ++c) {
    Picture one(31, 22, 1);
    for (size_t i = 0; i < one.size(); ++i) one.data()[i] = four.data()[4 * i + static_cast<size_t>(c)];
    const std::vector<uint8_t> alone = bytes_of(resized(one, {17, 40}, Filter::bicubic));
    for (size_t i = 0; i < alone.size(); ++i) REQUIRE(alone[i] == together[4 * i + static_cast<size_t>(c)]);
  }
}

TEST_CASE("data/resize: a flat picture stays flat, and sizes that do not fit throw") {
  Picture flat(40, 30, 3);
  std::fill_n(flat.data(), flat.size(), uint8_t{201});
  for (const Size to : {Size{7, 90}, Size{40, 1}, Size{224, 224}}) {
    for (const uint8_t value : bytes_of(resized(flat, to, Filter::bicubic))) REQUIRE(value == 201);
  }
  Picture out;
  CHECK_THROWS_AS(resize(flat, {0, 5}, Filter::bicubic, out), Error);
  CHECK_THROWS_AS(resize_footprint({4, 4}, {8, 8}, {4, 4, 5, 1}, Filter::bicubic), Error);
  CHECK_THROWS_AS(resize_part(flat, {0, 0, 40, 30}, {80, 30}, {8, 8}, {0, 0, 8, 8}, Filter::bicubic, out),
                  Error);
}

TEST_CASE("data/resize: centre crop rounds half to even and pads what is too small") {
  // 16.5 -> 16, 17.5 -> 18
  CHECK(centre_crop({57, 80}, 57, {24, 24}).kept.top == 16);
  CHECK(centre_crop({59, 80}, 59, {24, 24}).kept.top == 18);
  // the longer side: trunc(256 * 500 / 375) = 341
  CHECK(centre_crop({375, 500}, 256, {224, 224}).resized == Size{256, 341});
  CHECK(centre_crop({500, 375}, 256, {224, 224}).resized == Size{341, 256});
  const CentreCrop small = centre_crop({10, 20}, 10, {13, 12});
  CHECK(small.kept == Box{0, 4, 10, 12});
  CHECK(small.pad_top == 1);
  CHECK(small.pad_left == 0);
}

}  // namespace tessera::test
