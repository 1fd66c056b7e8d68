#include "data/synthetic.h"

#include <cmath>
#include <vector>

#include "engine/check.h"
#include "engine/random.h"

namespace tessera {
namespace {

constexpr double kPi = 3.14159265358979323846;

// sin(a + b) = sin a cos b + cos a sin b: one row and one column of sines make a whole plane wave.
struct Wave {
  std::vector<float> sin, cos;
  Wave(int n, double pitch, double phase) {
    for (int i = 0; i < n; ++i) {
      sin.push_back(static_cast<float>(std::sin(pitch * i + phase)));
      cos.push_back(static_cast<float>(std::cos(pitch * i + phase)));
    }
  }
};

}  // namespace

Synthetic::Synthetic(int64_t n, int height, int width, int channels)
    : n_(n), height_(height), width_(width), channels_(channels) {
  TS_CHECK(n >= 1 && height >= 1 && width >= 1 && (channels == 1 || channels == 3 || channels == 4),
           "synthetic: {} pictures of {} x {} x {}", n, height, width, channels);
}

int32_t Synthetic::label(int64_t i) const {
  check_index(i);
  return static_cast<int32_t>(i % kClasses);
}

std::string Synthetic::describe(int64_t i) const { return fmt::format("synthetic picture {}", i); }

void Synthetic::load(int64_t i, int channels, const ChooseBox& choose, Picture& out) const {
  check_index(i);
  if (!can_convert(channels_, channels)) {
    fail(ErrorKind::data, "{}: it has {} channels, and {} are wanted", describe(i), channels_, channels);
  }
  const Box box = choose(height_, width_);
  TS_CHECK(is_inside(box, height_, width_), "synthetic: a part outside the {} x {} picture", height_, width_);
  const Philox random(0, Purpose::synthetic, 0, static_cast<uint64_t>(i));
  const double angle = kPi * (label(i) + random.uniform(0, -0.2, 0.2)) / kClasses;
  const double pitch = 2 * kPi * random.uniform(1, 2.0, 6.0) / std::max(height_, width_);
  const Wave down(height_, pitch * std::sin(angle), random.uniform(2, 0, 2 * kPi));
  thread_local std::vector<uint8_t> row;
  row.resize(static_cast<size_t>(width_) * static_cast<size_t>(channels_));
  out.reset(box.height, box.width, channels);
  std::vector<Wave> across;
  std::vector<float> mean, height;
  for (int c = 0; c < channels_; ++c) {
    const uint64_t at = 3 + 3 * static_cast<uint64_t>(c);
    across.emplace_back(width_, pitch * std::cos(angle), random.uniform(at, 0, kPi));
    mean.push_back(static_cast<float>(random.uniform(at + 1, 80, 176)));
    height.push_back(static_cast<float>(random.uniform(at + 2, 30, 79)));
  }
  for (int y = 0; y < box.height; ++y) {
    const float s = down.sin[static_cast<size_t>(box.top + y)],
                t = down.cos[static_cast<size_t>(box.top + y)];
    for (int c = 0; c < channels_; ++c) {
      const size_t k = static_cast<size_t>(c);
      for (int x = 0; x < box.width; ++x) {
        const size_t at = static_cast<size_t>(box.left + x);
        const float value = mean[k] + height[k] * (s * across[k].cos[at] + t * across[k].sin[at]);
        row[static_cast<size_t>(x * channels_ + c)] = static_cast<uint8_t>(value);
      }
    }
    convert_channels(out.row(y), channels, row.data(), channels_, box.width);
  }
}

}  // namespace tessera
