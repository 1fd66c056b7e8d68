// data/augment: crops within bounds, with the distribution of torchvision's; flips.
#include "data/augment.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/resize.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

Philox address(uint64_t index) { return Philox(5, Purpose::crop, 0, index); }

}  // namespace

TEST_CASE("data/augment: crops lie inside, and their area and ratio are spread as asked") {
  const CropOptions o;
  const int height = 600, width = 600, n = 20'000;
  double area_sum = 0, area_squares = 0, log_sum = 0, log_squares = 0, top_sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const Box box = random_resized_crop(height, width, o, address(i));
    REQUIRE(is_inside(box, height, width));
    const double area = static_cast<double>(box.height) * box.width / (height * width);
    const double log_ratio = std::log(static_cast<double>(box.width) / box.height);
    REQUIRE(area <= 1.0);
    REQUIRE(area > 0.198);
    REQUIRE(std::fabs(log_ratio) < std::log(4.0 / 3.0) + 0.01);
    area_sum += area;
    area_squares += area * area;
    log_sum += log_ratio;
    log_squares += log_ratio * log_ratio;
    if (height > box.height) top_sum += static_cast<double>(box.top) / (height - box.height);
  }
  // Expectations: integrals over the draws that fit. With a square picture draw (a, r) fits when a <= e^-|r|;
  // accepted areas and ratios by a fine grid over the same law, the fallback (area 1, ratio 1) included.
  double fits = 0, area_mean = 0, area_square = 0, log_square = 0;
  const int grid = 1000;
  for (int i = 0; i < grid; ++i) {
    for (int j = 0; j < grid; ++j) {
      const double a = 0.2 + 0.8 * (i + 0.5) / grid, r = std::log(4.0 / 3.0) * (2.0 * (j + 0.5) / grid - 1);
      if (a > std::exp(-std::fabs(r))) continue;
      fits += 1;
      area_mean += a;
      area_square += a * a;
      log_square += r * r;
    }
  }
  area_mean /= fits;
  area_square /= fits;
  log_square /= fits;
  const double area_deviation = std::sqrt(area_square - area_mean * area_mean), bound = 5 / std::sqrt(n);
  CHECK(std::fabs(area_sum / n - area_mean) < area_deviation * bound + 1e-3);
  CHECK(std::fabs(area_squares / n - area_square) < bound + 1e-3);
  CHECK(std::fabs(log_sum / n) < std::sqrt(log_square) * bound + 1e-3);
  CHECK(std::fabs(log_squares / n - log_square) < log_square * 2 * bound + 1e-3);
  CHECK(std::fabs(top_sum / n - 0.5) < 0.3 * bound + 5e-3);
}

TEST_CASE("data/augment: the same address gives the same crop, another another") {
  const CropOptions o;
  const Box first = random_resized_crop(375, 500, o, Philox(1, Purpose::crop, 3, 17));
  CHECK(first == random_resized_crop(375, 500, o, Philox(1, Purpose::crop, 3, 17)));
  CHECK(!(first == random_resized_crop(375, 500, o, Philox(1, Purpose::crop, 4, 17))));
  CHECK(!(first == random_resized_crop(375, 500, o, Philox(1, Purpose::crop, 3, 18))));
  CHECK(!(first == random_resized_crop(375, 500, o, Philox(2, Purpose::crop, 3, 17))));
}

TEST_CASE("data/augment: a crop is the formula applied to its draws") {
  const CropOptions o;
  for (uint64_t i = 0; i < 300; ++i) {
    const Philox random = address(i);
    const int height = 480, width = 640;
    const double area = height * width * (0.2 + 0.8 * static_cast<double>(random.uniform(0)));
    const double ratio = std::exp(std::log(0.75) + (std::log(4.0 / 3) - std::log(0.75)) *
                                                       static_cast<double>(random.uniform(1)));
    const double w = std::sqrt(area * ratio), h = std::sqrt(area / ratio);
    const Box box = random_resized_crop(height, width, o, random);
    const Box single = single_draw_crop(height, width, o, random);
    if (w < width - 1 && h < height - 1) {  // the first draw fits
      REQUIRE(std::fabs(box.width - w) <= 0.5001);
      REQUIRE(std::fabs(box.height - h) <= 0.5001);
      REQUIRE(box == single);
    }
    REQUIRE(std::fabs(single.width - std::min<double>(w, width)) <= 0.5001);
    REQUIRE(std::fabs(single.height - std::min<double>(h, height)) <= 0.5001);
    REQUIRE(is_inside(single, height, width));
  }
}

TEST_CASE("data/augment: when no draw fits, the largest centred crop of an allowed ratio") {
  CropOptions o;
  o.scale_min = 0.9;
  for (uint64_t i = 0; i < 50; ++i) {
    // 1000 x 100: the ratio is at most 4/3, so 90 % of the area never fits. round(100 * 4/3) = 133.
    CHECK(random_resized_crop(100, 1000, o, address(i)) == Box{0, (1000 - 133) / 2, 100, 133});
    // tall: round(100 / (3/4)) = 133
    CHECK(random_resized_crop(1000, 100, o, address(i)) == Box{(1000 - 133) / 2, 0, 133, 100});
  }
  o.scale_min = o.scale_max = 1.0;
  o.ratio_min = 1.2;
  o.ratio_max = 1.3;  // ratio 1.25 of the whole area fits only by chance of rounding
  CHECK(random_resized_crop(400, 500, o, address(1)) == Box{0, 0, 400, 500});
}

TEST_CASE("data/augment: tiny pictures give crops of at least one pixel") {
  const CropOptions o;
  for (const Size size : {Size{1, 1}, Size{1, 7}, Size{3, 1}, Size{2, 2}}) {
    for (uint64_t i = 0; i < 200; ++i) {
      REQUIRE(
          is_inside(random_resized_crop(size.height, size.width, o, address(i)), size.height, size.width));
      REQUIRE(is_inside(single_draw_crop(size.height, size.width, o, address(i)), size.height, size.width));
    }
  }
}

TEST_CASE("data/augment: flips come up as often as asked") {
  int flips = 0;
  for (uint64_t i = 0; i < 10'000; ++i) {
    flips += draw_flip(0.3, Philox(1, Purpose::flip, 0, i));
    REQUIRE(!draw_flip(0.0, Philox(1, Purpose::flip, 0, i)));
    REQUIRE(draw_flip(1.0, Philox(1, Purpose::flip, 0, i)));
  }
  CHECK(std::abs(flips - 3000) < 5 * 46);
}

TEST_CASE("data/augment: options out of range are named") {
  for (const CropOptions o : {CropOptions{0.0, 1.0, 0.75, 1.33}, CropOptions{0.5, 0.4, 0.75, 1.33},
                              CropOptions{0.5, 1.1, 0.75, 1.33}}) {
    CHECK(contains(complaint(ErrorKind::config, [&] { check_crop_options(o); }), "crop scale"));
  }
  for (const CropOptions o : {CropOptions{0.2, 1.0, 0.0, 1.33}, CropOptions{0.2, 1.0, 1.5, 1.33}}) {
    CHECK(contains(complaint(ErrorKind::config, [&] { check_crop_options(o); }), "crop ratio"));
  }
  check_crop_options({});
}

}  // namespace tessera::test
