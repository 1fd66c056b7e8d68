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
constexpr int kTapMultiple = 8;  // weights are padded with zeros to whole vectors of eight taps
constexpr int kBytes = 3;        // of a weight

// How one axis is resized: output i sums `weights[i * stride + k] * input[lo[i] + k]`, k < count[i].
struct Axis {
  int stride = 0;
  std::vector<int> lo, count;
  std::vector<int32_t> weights;
  // The same in signed bytes, lowest first, for products of bytes: every four taps' three bytes each; and for
  // two outputs at a time, eight taps of one beside eight of the next.
  std::vector<int8_t> fours, pairs;
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

// Weight = low + 256 middle + 65536 high, each a signed byte.
void split_weights(Axis& axis) {
  const size_t stride = static_cast<size_t>(axis.stride), n = axis.lo.size();
  axis.fours.assign(n * stride * kBytes, 0);
  axis.pairs.assign((n + 1) / 2 * 2 * stride * kBytes, 0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < stride; ++k) {
      int32_t weight = axis.weights[i * stride + k];
      int8_t* four = &axis.fours[(i * stride + k / 4 * 4) * kBytes + k % 4];
      int8_t* pair = &axis.pairs[(i / 2 * 2 * stride + k / 8 * 16) * kBytes + i % 2 * 8 + k % 8];
      for (size_t b = 0; b < kBytes; ++b) {
        const int8_t byte = static_cast<int8_t>(weight & 255);
        four[4 * b] = pair[16 * b] = byte;
        weight = (weight - byte) >> 8;
      }
    }
  }
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
  split_weights(axis);
}

#pragma GCC pop_options

#ifdef TESSERA_AVX512

// Products of four unsigned bytes of a and four signed ones of b, added to each 32-bit element of sum.
__m512i dot4(__m512i sum, __m512i a, __m512i b) {
#ifdef __AVX512VNNI__
  return _mm512_dpbusd_epi32(sum, a, b);
#else
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(a, _mm512_set1_epi16(255)),
                                         _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(a, 8), _mm512_srai_epi16(b, 8));
  return _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
#endif
}

// Sums of products with the three bytes of the weights; together they are the sums with the weights.
struct Sums {
  __m512i part[kBytes] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  __m512i joined() const {
    const __m512i high = _mm512_add_epi32(_mm512_slli_epi32(part[2], 8), part[1]);
    return _mm512_add_epi32(_mm512_slli_epi32(high, 8), part[0]);
  }
};

// Two outputs at a time, eight taps of each: a vector's 128 bits are four taps of up to four channels, which
// are added up over taps at the end. Reads up to 32 bytes and writes up to 3 bytes past a row's end; both
// stay within a picture and its slack, and rows are written in order.
void horizontal_row(uint8_t* to, const uint8_t* from, const Axis& axis, int n, int channels) {
  alignas(16) int8_t order[16];  // four pixels of `channels` bytes to four taps of each channel
  for (int b = 0; b < 16; ++b)
    order[b] = static_cast<int8_t>(b / 4 < channels ? b % 4 * channels + b / 4 : -1);
  const __m512i by_channel = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(order)));
  alignas(64) int32_t begin[16];  // where each 128 bits begin, in words of 32 bits
  for (int i = 0; i < 16; ++i) begin[i] = std::min(i / 8 * 8 + i / 4 % 2 * channels + i % 4, 15);
  const __m512i spread = _mm512_load_si512(begin);
  const __m512i repeat = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  for (int i = 0; i < n; i += 2) {
    const size_t first = static_cast<size_t>(i), second = i + 1 < n ? first + 1 : first;
    const uint8_t* p = from + static_cast<ptrdiff_t>(axis.lo[first]) * channels;
    const uint8_t* q = from + static_cast<ptrdiff_t>(axis.lo[second]) * channels;
    const int8_t* w = axis.pairs.data() + first / 2 * static_cast<size_t>(axis.stride) * 2 * kBytes;
    const int count = std::max(axis.count[first], axis.count[second]);
    Sums sums;
    for (int k = 0; k < count; k += 8, p += 8 * channels, q += 8 * channels, w += 16 * kBytes) {
      const __m512i both = _mm512_inserti64x4(
          _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)), 1);
      const __m512i taps = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(spread, both), by_channel);
      for (int b = 0; b < kBytes; ++b) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 16 * b));
        sums.part[b] = dot4(sums.part[b], taps,
                            _mm512_permutexvar_epi32(repeat, _mm512_castsi128_si512(four)));
      }
    }
    __m512i total = sums.joined();
    total = _mm512_add_epi32(total, _mm512_shuffle_i64x2(total, total, 0b10'11'00'01));
    total = _mm512_srai_epi32(_mm512_add_epi32(total, _mm512_set1_epi32(1 << (kBits - 1))), kBits);
    total = _mm512_packs_epi32(total, total);
    total = _mm512_packus_epi16(total, total);
    const int left = _mm_cvtsi128_si32(_mm512_castsi512_si128(total));
    const int right = _mm_cvtsi128_si32(_mm512_extracti32x4_epi32(total, 2));
    std::memcpy(to + static_cast<ptrdiff_t>(i) * channels, &left, 4);
    if (i + 1 < n) std::memcpy(to + static_cast<ptrdiff_t>(i + 1) * channels, &right, 4);
  }
}

const int8_t* weights_of(const Axis& axis, size_t at) { return &axis.fours[at * kBytes]; }

// One output row from `count` input rows of `bytes` bytes, four rows at a time. `w`: for each four of them,
// their weights' lowest bytes, then the others.
void vertical_row(uint8_t* to, const uint8_t* from, const int8_t* w, int count, int64_t bytes) {
  for (int64_t x = 0; x < bytes; x += 64) {
    const __mmask64 mask = bytes - x >= 64 ? ~__mmask64{0} : (__mmask64{1} << (bytes - x)) - 1;
    Sums sums[4];
    const int8_t* weights = w;
    for (int k = 0; k < count; k += 4, weights += 4 * kBytes) {
      __m512i row[4];
      for (int r = 0; r < 4; ++r)
        row[r] = _mm512_maskz_loadu_epi8(mask, from + std::min(k + r, count - 1) * bytes + x);
      const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]), b = _mm512_unpackhi_epi8(row[0], row[1]);
      const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]), d = _mm512_unpackhi_epi8(row[2], row[3]);
      const __m512i taps[4] = {_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c),
                               _mm512_unpacklo_epi16(b, d), _mm512_unpackhi_epi16(b, d)};
      for (int plane = 0; plane < kBytes; ++plane) {
        int32_t four;
        std::memcpy(&four, weights + 4 * plane, 4);
        const __m512i weight = _mm512_set1_epi32(four);
        for (int i = 0; i < 4; ++i) sums[i].part[plane] = dot4(sums[i].part[plane], taps[i], weight);
      }
    }
    __m512i total[4];
    for (int i = 0; i < 4; ++i) {
      total[i] = _mm512_add_epi32(sums[i].joined(), _mm512_set1_epi32(1 << (kBits - 1)));
      total[i] = _mm512_srai_epi32(total[i], kBits);
    }
    const __m512i value = _mm512_packus_epi16(_mm512_packs_epi32(total[0], total[1]),
                                              _mm512_packs_epi32(total[2], total[3]));
    _mm512_mask_storeu_epi8(to + x, mask, value);
  }
}

#else

const int32_t* weights_of(const Axis& axis, size_t at) { return &axis.weights[at]; }

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
    const size_t i = static_cast<size_t>(y), at = i * static_cast<size_t>(axis.stride);
    vertical_row(out.row(y), in.row(axis.lo[i]), weights_of(axis, at), axis.count[i], bytes);
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
