#include "data/jpeg_pixels.h"

#include <algorithm>
#include <vector>

#include "data/picture.h"
#include "engine/simd.h"

namespace tessera {

#ifdef TESSERA_AVX512

namespace {

// ---- inverse DCT: the arithmetic of jidctint (Loeffler, Ligtenberg, Moschytz), in 16 bits wherever
// libjpeg-turbo's vectors are. A vector holds one row of four blocks, a block in each 128 bits, so
// instructions that stay within 128 bits serve four blocks.

constexpr int kConstBits = 13, kPassBits = 2;
constexpr int fix(double x) { return static_cast<int>(x * (1 << kConstBits) + 0.5); }

// Sums a * x + b * y, in two halves of 32 bits a sum.
struct Wide {
  __m512i low, high;
};
Wide operator+(Wide a, Wide b) { return {_mm512_add_epi32(a.low, b.low), _mm512_add_epi32(a.high, b.high)}; }
Wide operator-(Wide a, Wide b) { return {_mm512_sub_epi32(a.low, b.low), _mm512_sub_epi32(a.high, b.high)}; }
Wide interleave(__m512i x, __m512i y) { return {_mm512_unpacklo_epi16(x, y), _mm512_unpackhi_epi16(x, y)}; }
Wide multiply(Wide xy, int a, int b) {
  const __m512i ab = _mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(b) << 16 | (a & 0xffff)));
  return {_mm512_madd_epi16(xy.low, ab), _mm512_madd_epi16(xy.high, ab)};
}
// x << kConstBits
Wide widen(__m512i x) {
  const __m512i zero = _mm512_setzero_si512();
  return {_mm512_srai_epi32(_mm512_unpacklo_epi16(zero, x), 16 - kConstBits),
          _mm512_srai_epi32(_mm512_unpackhi_epi16(zero, x), 16 - kConstBits)};
}
template <int kShift> __m512i descale(Wide x) {
  const __m512i half = _mm512_set1_epi32(1 << (kShift - 1));
  return _mm512_packs_epi32(_mm512_srai_epi32(_mm512_add_epi32(x.low, half), kShift),
                            _mm512_srai_epi32(_mm512_add_epi32(x.high, half), kShift));
}

// Eight transforms of length 8 in each block: element i of all is in v[i].
template <int kShift> void inverse_dct_pass(__m512i (&v)[8]) {
  const Wide even26 = interleave(v[2], v[6]);
  const Wide t3 = multiply(even26, fix(0.541196100) + fix(0.765366865), fix(0.541196100));
  const Wide t2 = multiply(even26, fix(0.541196100), fix(0.541196100) - fix(1.847759065));
  const Wide t0 = widen(_mm512_add_epi16(v[0], v[4])), t1 = widen(_mm512_sub_epi16(v[0], v[4]));
  const Wide a0 = t0 + t3, a3 = t0 - t3, a1 = t1 + t2, a2 = t1 - t2;

  const Wide z = interleave(_mm512_add_epi16(v[7], v[3]), _mm512_add_epi16(v[5], v[1]));
  const Wide z3 = multiply(z, fix(1.175875602) - fix(1.961570560), fix(1.175875602));
  const Wide z4 = multiply(z, fix(1.175875602), fix(1.175875602) - fix(0.390180644));
  const Wide odd71 = interleave(v[7], v[1]), odd53 = interleave(v[5], v[3]);
  const Wide b0 = multiply(odd71, fix(0.298631336) - fix(0.899976223), -fix(0.899976223)) + z3;
  const Wide b3 = multiply(odd71, -fix(0.899976223), fix(1.501321110) - fix(0.899976223)) + z4;
  const Wide b1 = multiply(odd53, fix(2.053119869) - fix(2.562915447), -fix(2.562915447)) + z4;
  const Wide b2 = multiply(odd53, -fix(2.562915447), fix(3.072711026) - fix(2.562915447)) + z3;

  v[0] = descale<kShift>(a0 + b3), v[7] = descale<kShift>(a0 - b3);
  v[1] = descale<kShift>(a1 + b2), v[6] = descale<kShift>(a1 - b2);
  v[2] = descale<kShift>(a2 + b1), v[5] = descale<kShift>(a2 - b1);
  v[3] = descale<kShift>(a3 + b0), v[4] = descale<kShift>(a3 - b0);
}

// Rows and columns of each block change places.
void transpose(__m512i (&v)[8]) {
  __m512i a[8], b[8];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm512_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {  // rows 4i .. 4i + 3: columns 0 1, 2 3, 4 5, 6 7
    b[4 * i] = _mm512_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
    b[4 * i + 1] = _mm512_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
    b[4 * i + 2] = _mm512_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
    b[4 * i + 3] = _mm512_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = _mm512_unpacklo_epi64(b[i], b[4 + i]);
    v[2 * i + 1] = _mm512_unpackhi_epi64(b[i], b[4 + i]);
  }
}

// ---- rows -------------------------------------------------------------------------------------------------

// `n` samples, and two beyond each end as the picture's edge repeats itself, of 3 * near + far (v 2) or near.
// sums[j + 1] belongs to column first + j.
void sum_rows(const uint8_t* near, const uint8_t* far, bool both, int first, int n, int width,
              uint16_t* sums) {
  const int begin = std::max(first - 1, 0), end = std::min(first + n + 1, width);
  uint16_t* to = sums + (begin - first + 1);
  if (both) {
    for (int j = begin; j < end; ++j) *to++ = static_cast<uint16_t>(3 * near[j] + far[j]);
  } else {
    for (int j = begin; j < end; ++j) *to++ = near[j];
  }
  if (begin == first) sums[0] = sums[1];
  if (end == first + n) *to = to[-1];
}

// Two pixels of colour, as two bytes, from each sum and its neighbours.
template <int kShift> void smooth(const uint16_t* sums, int n, uint16_t* to) {
  constexpr int kEven = kShift == 4 ? 8 : 1, kOdd = kShift == 4 ? 7 : 2;
  for (int j = 0; j < n; ++j) {
    const int three = 3 * sums[j + 1];
    const int even = (three + sums[j] + kEven) >> kShift, odd = (three + sums[j + 2] + kOdd) >> kShift;
    to[j] = static_cast<uint16_t>(even | odd << 8);
  }
}

__m512i widen_bytes(const uint8_t* p) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
__m512i clamp_bytes(__m512i x) {
  return _mm512_min_epi16(_mm512_max_epi16(x, _mm512_setzero_si512()), _mm512_set1_epi16(255));
}

// (x * factor + 2^15) >> 16 for |2 x| < 2^15
__m512i scale(__m512i x, int factor) {
  const __m512i twice = _mm512_mulhi_epi16(_mm512_add_epi16(x, x),
                                           _mm512_set1_epi16(static_cast<short>(factor)));
  return _mm512_srai_epi16(_mm512_add_epi16(twice, _mm512_set1_epi16(1)), 1);
}

// 32 pixels at a time: R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb with factors of 16
// fractional bits, whole parts taken out so that products fit 16 bits.
void colours_to_rgb(const uint8_t* luma, const uint8_t* blue, const uint8_t* red, int n, uint8_t* out) {
  constexpr int kFraction = 65536;
  constexpr int kRed = 91881 - kFraction, kBlue = 116130 - 2 * kFraction;
  constexpr int kGreenBlue = -22554, kGreenRed = kFraction - 46802;
  const __m512i green = _mm512_set1_epi32(kGreenRed << 16 | (kGreenBlue & 0xffff));
  const __m512i half = _mm512_set1_epi32(kFraction / 2), middle = _mm512_set1_epi16(128);
  const __m512i drop_fourth = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  // Lanes of 12 bytes, from two vectors in turn.
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 16, 17, 18, 4, 5, 6, 20, 21, 22, 8, 9, 10, 24);
  const __m512i second = _mm512_setr_epi32(25, 26, 12, 13, 14, 28, 29, 30, 0, 0, 0, 0, 0, 0, 0, 0);
  for (int x = 0; x < n; x += 32, out += 96) {
    const __m512i y = widen_bytes(luma + x), cb = _mm512_sub_epi16(widen_bytes(blue + x), middle),
                  cr = _mm512_sub_epi16(widen_bytes(red + x), middle);
    const __m512i r = _mm512_add_epi16(_mm512_add_epi16(y, cr), scale(cr, kRed));
    const __m512i b = _mm512_add_epi16(_mm512_add_epi16(y, _mm512_add_epi16(cb, cb)), scale(cb, kBlue));
    const auto part = [&](__m512i both) {
      return _mm512_srai_epi32(_mm512_add_epi32(_mm512_madd_epi16(both, green), half), 16);
    };
    const __m512i share = _mm512_packs_epi32(part(_mm512_unpacklo_epi16(cb, cr)),
                                             part(_mm512_unpackhi_epi16(cb, cr)));
    const __m512i g = _mm512_add_epi16(_mm512_sub_epi16(y, cr), share);
    const __m512i rg = _mm512_or_si512(clamp_bytes(r), _mm512_slli_epi16(clamp_bytes(g), 8));
    const __m512i b8 = clamp_bytes(b);
    const __m512i even = _mm512_shuffle_epi8(_mm512_unpacklo_epi16(rg, b8), drop_fourth);
    const __m512i odd = _mm512_shuffle_epi8(_mm512_unpackhi_epi16(rg, b8), drop_fourth);
    const __m512i head = _mm512_permutex2var_epi32(even, first, odd);
    const __m512i tail = _mm512_permutex2var_epi32(even, second, odd);
    const int bytes = 3 * std::min(n - x, 32);
    const auto ones = [](int k) { return k >= 64 ? ~uint64_t{0} : (uint64_t{1} << std::max(k, 0)) - 1; };
    _mm512_mask_storeu_epi8(out, ones(bytes), head);
    _mm512_mask_storeu_epi8(out + 64, ones(bytes - 64), tail);
  }
}

}  // namespace

void inverse_dct_quad(int16_t* quad, const uint16_t* quant, uint8_t* to, ptrdiff_t stride) {
  __m512i v[8];
  for (int r = 0; r < 8; ++r) {
    const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(quant + 8 * r));
    v[r] = _mm512_mullo_epi16(_mm512_load_si512(quad + 32 * r), _mm512_broadcast_i32x4(q));
    _mm512_store_si512(quad + 32 * r, _mm512_setzero_si512());
  }
  inverse_dct_pass<kConstBits - kPassBits>(v);
  transpose(v);
  inverse_dct_pass<kConstBits + kPassBits + 3>(v);
  transpose(v);
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  for (int r = 0; r < 8; r += 2) {
    const __m512i two = _mm512_add_epi8(_mm512_packs_epi16(v[r], v[r + 1]), _mm512_set1_epi8(-128));
    const __m512i rows = _mm512_permutexvar_epi64(order, two);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + r * stride), _mm512_castsi512_si256(rows));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + (r + 1) * stride),
                        _mm512_extracti64x4_epi64(rows, 1));
  }
}

void samples_to_row(const RowOfSamples& row, int left, int width, int channels, uint8_t* out) {
  thread_local std::vector<uint16_t> sums, colours[2];
  thread_local Bytes rgb;
  std::array<const uint8_t*, 2> colour = {row.near[0] + left, row.near[1] + left};
  if (row.h == 2) {
    const int first = left / 2, n = (left + width - 1) / 2 - first + 1;
    constexpr size_t kBeyond = 64;
    if (sums.size() < static_cast<size_t>(n) + kBeyond) {
      sums.resize(static_cast<size_t>(n) + kBeyond);
      for (auto& c : colours) c.resize(static_cast<size_t>(n) + kBeyond);
    }
    for (size_t i = 0; i < 2; ++i) {
      sum_rows(row.near[i], row.far[i], row.v == 2, first, n, row.colour_width, sums.data());
      row.v == 2 ? smooth<4>(sums.data(), n, colours[i].data())
                 : smooth<2>(sums.data(), n, colours[i].data());
      colour[i] = reinterpret_cast<const uint8_t*>(colours[i].data()) + (left - 2 * first);
    }
  }
  if (channels == 3) return colours_to_rgb(row.luma, colour[0], colour[1], width, out);
  uint8_t* to = rgb.resize(static_cast<size_t>(3 * width));
  colours_to_rgb(row.luma, colour[0], colour[1], width, to);
  convert_channels(out, 1, to, 3, width);
}

#endif

}  // namespace tessera
