#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/check.h"

namespace tessera {
namespace {

// Python's round: half to even.
double round_half_even(double x) { return std::nearbyint(x); }

// As PyTorch draws: from, to and the result are float32.
double uniform_f32(const Philox& random, uint64_t element, double from, double to) {
  const float low = static_cast<float>(from), high = static_cast<float>(to);
  return static_cast<double>(random.uniform(element) * (high - low) + low);
}

// Sides of draw `attempt`, not yet compared with the picture's.
void draw_sides(double& height, double& width, double area, const CropOptions& o, const Philox& random,
                uint64_t attempt) {
  const double wanted = area * uniform_f32(random, 4 * attempt, o.scale_min, o.scale_max);
  const double log_min = std::log(static_cast<float>(o.ratio_min)),
               log_max = std::log(static_cast<float>(o.ratio_max));
  const double log_ratio = uniform_f32(random, 4 * attempt + 1, log_min, log_max);
  const double ratio = static_cast<double>(std::exp(static_cast<float>(log_ratio)));
  width = round_half_even(std::sqrt(wanted * ratio));
  height = round_half_even(std::sqrt(wanted / ratio));
}

// A box of the given sides at a random place; uses the last two elements of draw `attempt`.
Box place(int height, int width, int crop_height, int crop_width, const Philox& random, uint64_t attempt) {
  const uint32_t tops = static_cast<uint32_t>(height - crop_height) + 1;
  const uint32_t lefts = static_cast<uint32_t>(width - crop_width) + 1;
  return {static_cast<int>(random.below(4 * attempt + 2, tops)),
          static_cast<int>(random.below(4 * attempt + 3, lefts)), crop_height, crop_width};
}

Box central_crop(int height, int width, const CropOptions& o) {
  const double ratio = static_cast<double>(width) / height;
  Box box = {0, 0, height, width};
  if (ratio < o.ratio_min) {
    box.height = std::clamp(static_cast<int>(round_half_even(width / o.ratio_min)), 1, height);
  } else if (ratio > o.ratio_max) {
    box.width = std::clamp(static_cast<int>(round_half_even(height * o.ratio_max)), 1, width);
  }
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

}  // namespace

void check_crop_options(const CropOptions& o) {
  if (!(o.scale_min > 0 && o.scale_min <= o.scale_max && o.scale_max <= 1)) {
    fail(ErrorKind::config, "crop scale {} to {}: wanted 0 < smallest <= largest <= 1", o.scale_min,
         o.scale_max);
  }
  if (!(o.ratio_min > 0 && o.ratio_min <= o.ratio_max && std::isfinite(o.ratio_max))) {
    fail(ErrorKind::config, "crop ratio {} to {}: wanted 0 < smallest <= largest", o.ratio_min, o.ratio_max);
  }
}

Box random_resized_crop(int height, int width, const CropOptions& options, const Philox& random) {
  TS_CHECK(height >= 1 && width >= 1, "random_resized_crop: a picture of {} x {}", height, width);
  const double area = static_cast<double>(height) * width;
  for (uint64_t attempt = 0; attempt < 10; ++attempt) {
    double h = 0, w = 0;
    draw_sides(h, w, area, options, random, attempt);
    if (w > 0 && w <= width && h > 0 && h <= height) {
      return place(height, width, static_cast<int>(h), static_cast<int>(w), random, attempt);
    }
  }
  return central_crop(height, width, options);
}

Box single_draw_crop(int height, int width, const CropOptions& options, const Philox& random) {
  TS_CHECK(height >= 1 && width >= 1, "single_draw_crop: a picture of {} x {}", height, width);
  double h = 0, w = 0;
  draw_sides(h, w, static_cast<double>(height) * width, options, random, 0);
  // The reference has no lower bound: a side of 0 (a picture one pixel wide) would be an empty crop.
  const int crop_height = static_cast<int>(std::clamp(h, 1.0, static_cast<double>(height)));
  const int crop_width = static_cast<int>(std::clamp(w, 1.0, static_cast<double>(width)));
  return place(height, width, crop_height, crop_width, random, 0);
}

bool draw_flip(double probability, const Philox& random) {
  return static_cast<double>(random.uniform(0)) < probability;
}

void flip_row(uint8_t* to, const uint8_t* from, int width, int channels) {
  const uint8_t* p = from + static_cast<ptrdiff_t>(width - 1) * channels;
  for (int x = 0; x < width; ++x, p -= channels) {
    for (int c = 0; c < channels; ++c) *to++ = p[c];
  }
}

}  // namespace tessera
