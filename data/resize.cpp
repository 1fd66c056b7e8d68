#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/check.h"
#include "engine/simd.h"

namespace tessera {
namespace {

constexpr int kBits = 22;        // fractional bits of a weight
constexpr int kTapMultiple = 4;  // weights are padded with zeros to whole vectors of four taps

// How one axis is resized: output i sums `weights[i * stride + k] * input[lo[i] + k]`, k < count[i].
struct Axis {
  int stride = 0;
  std::vector<int> lo, count;
  std::vector<int32_t> weights;
};

// Pillow is compiled without fused multiply-add; one would move a weight by its last bit now and then.
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")

double support_of(Filter filter) { return filter == Filter::bilinear ? 1.0 : 2.0; }

double weight_at(Filter filter, double x) {
  x = std::fabs(x);
  if (filter == Filter::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

struct Taps {
  int begin, end;
  double centre, scale;
};

// Input elements [begin, end) that output i of an axis from `in` to `out` elements looks at.
Taps taps_of(int in, int out, int i, Filter filter) {
  const double ratio = static_cast<double>(in) / out;
  const double scale = std::max(ratio, 1.0);
  const double support = support_of(filter) * scale;
  const double centre = (i + 0.5) * ratio;
  const int begin = std::max(static_cast<int>(centre - support + 0.5), 0);
  const int end = std::min(static_cast<int>(centre + support + 0.5), in);
  return {begin, end, centre, scale};
}

// Outputs [first, first + n) of an axis from `in` to `out` elements, of which the source holds those from
// `origin` on.
void plan_axis(Axis& axis, int in, int out, int first, int n, int origin, Filter filter) {
  const double scale = std::max(static_cast<double>(in) / out, 1.0);
  const int most = static_cast<int>(std::ceil(support_of(filter) * scale)) * 2 + 1;
  axis.stride = (most + kTapMultiple - 1) / kTapMultiple * kTapMultiple;
  axis.lo.resize(static_cast<size_t>(n));
  axis.count.resize(static_cast<size_t>(n));
  axis.weights.assign(static_cast<size_t>(n) * static_cast<size_t>(axis.stride), 0);
  std::vector<double> w(static_cast<size_t>(most));
  for (int i = 0; i < n; ++i) {
    const Taps taps = taps_of(in, out, first + i, filter);
    const double inverse = 1.0 / taps.scale;
    double total = 0;
    for (int j = taps.begin; j < taps.end; ++j) {
      const double value = weight_at(filter, (j - taps.centre + 0.5) * inverse);
      w[static_cast<size_t>(j - taps.begin)] = value;
      total += value;
    }
    int32_t* row = &axis.weights[static_cast<size_t>(i) * static_cast<size_t>(axis.stride)];
    for (int k = 0; k < taps.end - taps.begin; ++k) {
      double value = w[static_cast<size_t>(k)];
      if (total != 0) value /= total;
      row[k] = static_cast<int32_t>(value * (1 << kBits) + (value < 0 ? -0.5 : 0.5));
    }
    axis.lo[static_cast<size_t>(i)] = taps.begin - origin;
    axis.count[static_cast<size_t>(i)] = taps.end - taps.begin;
  }
}

#pragma GCC pop_options

#ifdef TESSERA_AVX512

// Lanes are (tap, channel): four taps of up to four channels at a time, added up over taps at the end. Reads
// up to 16 bytes and writes up to 3 bytes past a row's end; both stay within a picture and its slack, and
// rows are written in order.
void horizontal_row(uint8_t* to, const uint8_t* from, const Axis& axis, int n, int channels) {
  alignas(16) int8_t order[16];  // pixels of `channels` bytes to pixels of four, absent channels zero
  for (int b = 0; b < 16; ++b)
    order[b] = static_cast<int8_t>(b % 4 < channels ? b / 4 * channels + b % 4 : -1);
  const __m128i spread = _mm_load_si128(reinterpret_cast<const __m128i*>(order));
  const __m512i repeat = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  for (int i = 0; i < n; ++i) {
    const uint8_t* p = from + static_cast<ptrdiff_t>(axis.lo[static_cast<size_t>(i)]) * channels;
    const int32_t* w = &axis.weights[static_cast<size_t>(i) * static_cast<size_t>(axis.stride)];
    const int count = axis.count[static_cast<size_t>(i)];
    __m512i sum = _mm512_setzero_si512();
    for (int k = 0; k < count; k += 4, p += 4 * channels) {
      const __m128i pixels = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), spread);
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + k));
      const __m512i weights = _mm512_permutexvar_epi32(repeat, _mm512_castsi128_si512(four));
      sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(weights, _mm512_cvtepu8_epi32(pixels)));
    }
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i total = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    total = _mm_srai_epi32(_mm_add_epi32(total, _mm_set1_epi32(1 << (kBits - 1))), kBits);
    total = _mm_packus_epi16(_mm_packs_epi32(total, total), total);
    const int pixel = _mm_cvtsi128_si32(total);
    std::memcpy(to + static_cast<ptrdiff_t>(i) * channels, &pixel, 4);
  }
}

// One output row from `count` input rows of `bytes` bytes.
void vertical_row(uint8_t* to, const uint8_t* from, const int32_t* w, int count, int64_t bytes) {
  for (int64_t x = 0; x < bytes; x += 16) {
    const __mmask16 mask = bytes - x >= 16 ? __mmask16{0xffff} : tail_mask(static_cast<int>(bytes - x));
    __m512i sum = _mm512_set1_epi32(1 << (kBits - 1));
    const uint8_t* p = from + x;
    for (int k = 0; k < count; ++k, p += bytes) {
      const __m512i pixels = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p));
      sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(_mm512_set1_epi32(w[k]), pixels));
    }
    const __m512i value = _mm512_max_epi32(_mm512_srai_epi32(sum, kBits), _mm512_setzero_si512());
    _mm_mask_storeu_epi8(to + x, mask, _mm512_cvtusepi32_epi8(value));
  }
}

#else

uint8_t clamp8(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

void horizontal_row(uint8_t* to, const uint8_t* from, const Axis& axis, int n, int channels) {
  for (int i = 0; i < n; ++i) {
    const uint8_t* p = from + static_cast<ptrdiff_t>(axis.lo[static_cast<size_t>(i)]) * channels;
    const int32_t* w = &axis.weights[static_cast<size_t>(i) * static_cast<size_t>(axis.stride)];
    for (int c = 0; c < channels; ++c) {
      int32_t sum = 1 << (kBits - 1);
      for (int k = 0; k < axis.count[static_cast<size_t>(i)]; ++k) sum += w[k] * p[k * channels + c];
      *to++ = clamp8(sum);
    }
  }
}

void vertical_row(uint8_t* to, const uint8_t* from, const int32_t* w, int count, int64_t bytes) {
  constexpr int64_t kTile = 64;
  for (int64_t x = 0; x < bytes; x += kTile) {
    const int64_t n = std::min(kTile, bytes - x);
    int32_t sum[kTile];
    std::fill_n(sum, kTile, 1 << (kBits - 1));
    for (int k = 0; k < count; ++k) {
      for (int64_t i = 0; i < n; ++i) sum[i] += w[k] * from[k * bytes + x + i];
    }
    for (int64_t i = 0; i < n; ++i) to[x + i] = clamp8(sum[i]);
  }
}

#endif

// Rows [top, top + height) and columns [left, left + width) of `in`.
void copy_part(const Picture& in, Box part, Picture& out) {
  out.reset(part.height, part.width, in.channels());
  const size_t bytes = static_cast<size_t>(part.width) * static_cast<size_t>(in.channels());
  for (int y = 0; y < part.height; ++y) {
    std::memcpy(out.row(y), in.row(part.top + y) + static_cast<ptrdiff_t>(part.left) * in.channels(), bytes);
  }
}

void vertical_pass(const Picture& in, const Axis& axis, int n, Picture& out) {
  out.reset(n, in.width(), in.channels());
  const int64_t bytes = int64_t{in.width()} * in.channels();
  for (int y = 0; y < n; ++y) {
    vertical_row(out.row(y), in.row(axis.lo[static_cast<size_t>(y)]),
                 &axis.weights[static_cast<size_t>(y) * static_cast<size_t>(axis.stride)],
                 axis.count[static_cast<size_t>(y)], bytes);
  }
}

// First element and number of elements of one axis of the footprint.
std::pair<int, int> footprint(int from, int to, int first, int n, Filter filter) {
  if (from == to) return {first, n};
  const int begin = taps_of(from, to, first, filter).begin;
  return {begin, taps_of(from, to, first + n - 1, filter).end - begin};
}

void check_sizes(Size from, Size to, Box keep) {
  TS_CHECK(from.height >= 1 && from.width >= 1 && to.height >= 1 && to.width >= 1,
           "resize: from {} x {} to {} x {}; every side must be at least 1", from.height, from.width,
           to.height, to.width);
  TS_CHECK(is_inside(keep, to.height, to.width), "resize: {} x {} at ({}, {}) wanted of {} x {}", keep.height,
           keep.width, keep.top, keep.left, to.height, to.width);
}

}  // namespace

Box resize_footprint(Size from, Size to, Box keep, Filter filter) {
  check_sizes(from, to, keep);
  const auto [top, height] = footprint(from.height, to.height, keep.top, keep.height, filter);
  const auto [left, width] = footprint(from.width, to.width, keep.left, keep.width, filter);
  return {top, left, height, width};
}

void resize_part(const Picture& source, Box have, Size from, Size to, Box keep, Filter filter, Picture& out) {
  const Box need = resize_footprint(from, to, keep, filter);
  TS_CHECK(source.height() == have.height && source.width() == have.width &&
               is_inside(have, from.height, from.width),
           "resize: the source is {} x {}, its box {} x {}", source.height(), source.width(), have.height,
           have.width);
  const Box part = {need.top - have.top, need.left - have.left, need.height, need.width};
  TS_CHECK(is_inside(part, have.height, have.width), "resize: the source does not cover what is needed");

  thread_local Axis axis;
  thread_local Picture between;
  const bool horizontal = from.width != to.width, vertical = from.height != to.height;
  if (!horizontal && !vertical) return copy_part(source, part, out);
  const Picture* narrow = &source;  // columns of the output, rows of the input
  if (horizontal) {
    plan_axis(axis, from.width, to.width, keep.left, keep.width, have.left, filter);
    Picture& target = vertical ? between : out;
    target.reset(part.height, keep.width, source.channels());
    for (int y = 0; y < part.height; ++y) {
      horizontal_row(target.row(y), source.row(part.top + y), axis, keep.width, source.channels());
    }
    narrow = &target;
  } else if (!(part == Box{0, 0, have.height, have.width})) {
    copy_part(source, part, between);
    narrow = &between;
  }
  if (vertical) {
    plan_axis(axis, from.height, to.height, keep.top, keep.height, need.top, filter);
    vertical_pass(*narrow, axis, keep.height, out);
  }
}

void resize(const Picture& in, Size to, Filter filter, Picture& out) {
  const Size from = {in.height(), in.width()};
  resize_part(in, {0, 0, from.height, from.width}, from, to, {0, 0, to.height, to.width}, filter, out);
}

CentreCrop centre_crop(Size from, int shorter, Size crop) {
  TS_CHECK(from.height >= 1 && from.width >= 1 && shorter >= 1 && crop.height >= 1 && crop.width >= 1,
           "centre_crop: a side below 1");
  CentreCrop r;
  const int small = std::min(from.height, from.width), large = std::max(from.height, from.width);
  const int longer = static_cast<int>(static_cast<double>(int64_t{shorter} * large) / small);
  r.resized = from.width <= from.height ? Size{longer, shorter} : Size{shorter, longer};
  const auto place = [](int side, int wanted, int& begin, int& n, int& pad) {
    n = std::min(side, wanted);
    begin = side > wanted ? static_cast<int>(std::nearbyint((side - wanted) / 2.0)) : 0;
    pad = side < wanted ? (wanted - side) / 2 : 0;
  };
  place(r.resized.height, crop.height, r.kept.top, r.kept.height, r.pad_top);
  place(r.resized.width, crop.width, r.kept.left, r.kept.width, r.pad_left);
  return r;
}

}  // namespace tessera
