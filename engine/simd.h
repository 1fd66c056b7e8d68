// f32x16: sixteen floats, written twice: AVX-512 intrinsics, or a plain array the compiler may vectorise
// (-DTESSERA_PLAIN_SIMD=ON builds that one everywhere: the portable fallback, and a check on the first). Also
// here: rows of f32 or bf16 to and from f32x16 with tails, exp, the normal tail, and sums in a fixed order.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "engine/dtype.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    !defined(TESSERA_PLAIN_SIMD)
#define TESSERA_AVX512 1
#include <immintrin.h>
#endif

namespace tessera {

inline constexpr int kLanes = 16;

#ifdef TESSERA_AVX512

struct f32x16 {
  __m512 v;
  f32x16() : v(_mm512_setzero_ps()) {}
  f32x16(__m512 x) : v(x) {}
  f32x16(float x) : v(_mm512_set1_ps(x)) {}
};
inline f32x16 operator+(f32x16 a, f32x16 b) { return _mm512_add_ps(a.v, b.v); }
inline f32x16 operator-(f32x16 a, f32x16 b) { return _mm512_sub_ps(a.v, b.v); }
inline f32x16 operator*(f32x16 a, f32x16 b) { return _mm512_mul_ps(a.v, b.v); }
inline f32x16 operator/(f32x16 a, f32x16 b) { return _mm512_div_ps(a.v, b.v); }
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }  // a*b + c
inline f32x16 max(f32x16 a, f32x16 b) { return _mm512_max_ps(a.v, b.v); }
inline f32x16 min(f32x16 a, f32x16 b) { return _mm512_min_ps(a.v, b.v); }
inline f32x16 abs(f32x16 a) { return _mm512_abs_ps(a.v); }
inline f32x16 sqrt(f32x16 a) { return _mm512_sqrt_ps(a.v); }
// 1/a to about 1 ulp for finite, normal a: an estimate and one Newton step, several times faster than a
// division.
inline f32x16 reciprocal(f32x16 a) {
  const __m512 r = _mm512_rcp14_ps(a.v);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(2.0f)));
}
inline f32x16 copysign(f32x16 magnitude, f32x16 sign) {
  const __m512i m = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(m, _mm512_castps_si512(sign.v), _mm512_castps_si512(magnitude.v), 0xCA));
}
// Nearest integer, ties to even, as a float.
inline f32x16 round(f32x16 a) {
  return _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// a - floor(a), in [0, 1); 0 where a is infinite.
inline f32x16 fraction(f32x16 a) { return _mm512_reduce_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
// a * 2^floor(n).
inline f32x16 scale2(f32x16 a, f32x16 n) { return _mm512_scalef_ps(a.v, n.v); }
// log2(a) to about 1e-7 of max(1, |log2(a)|); -inf at 0, inf at inf, NaN below 0.
// a = m * 2^e with m in [0.75, 1.5); log2(m) = 2/ln2 * artanh(s), s = (m - 1) / (m + 1), |s| <= 0.2.
inline f32x16 log2(f32x16 a) {
  const f32x16 m = _mm512_getmant_ps(a.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  const __mmask16 halved = _mm512_cmp_ps_mask(m.v, _mm512_set1_ps(1.0f), _CMP_LT_OQ);
  const f32x16 floor_log = _mm512_getexp_ps(a.v);
  const f32x16 e = _mm512_mask_add_ps(floor_log.v, halved, floor_log.v, _mm512_set1_ps(1.0f));
  const f32x16 s = (m - f32x16(1.0f)) / (m + f32x16(1.0f)), s2 = s * s;
  f32x16 p = f32x16(3.2059889797e-1f);
  p = fma(p, s2, f32x16(4.1219858311e-1f));
  p = fma(p, s2, f32x16(5.7707801636e-1f));
  p = fma(p, s2, f32x16(9.6179669393e-1f));
  p = fma(p, s2, f32x16(2.8853900818f));
  return fma(p, s, e);
}
// where a < b: x, else y
inline f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v);
}

inline f32x16 load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, f32x16 a) { _mm512_storeu_ps(p, a.v); }
inline __mmask16 tail_mask(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
// First n lanes (0 <= n <= 16), the rest zero; memory beyond is not touched.
inline f32x16 load(const float* p, int n) { return _mm512_maskz_loadu_ps(tail_mask(n), p); }
inline void store(float* p, f32x16 a, int n) { _mm512_mask_storeu_ps(p, tail_mask(n), a.v); }

inline f32x16 widen_bf16(__m256i h) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
inline __m256i narrow_bf16(f32x16 a) {  // round to nearest even; NaN stays NaN
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i r = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))),
                                      16);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, r, quiet));
}
inline f32x16 load(const bf16* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store(bf16* p, f32x16 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(a)); }
inline f32x16 load(const bf16* p, int n) { return widen_bf16(_mm256_maskz_loadu_epi16(tail_mask(n), p)); }
inline void store(bf16* p, f32x16 a, int n) { _mm256_mask_storeu_epi16(p, tail_mask(n), narrow_bf16(a)); }
// Keeps the first n lanes of a, the others become `fill`.
inline f32x16 keep_first(f32x16 a, int n, f32x16 fill) {
  return _mm512_mask_blend_ps(tail_mask(n), fill.v, a.v);
}

// Lanes are added in a fixed tree: (i, i+8), then (i, i+4), (i, i+2), (i, i+1).
inline float sum(f32x16 a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v),
                                 _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a.v), 1)));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
inline float max(f32x16 a) { return _mm512_reduce_max_ps(a.v); }

#else

struct f32x16 {
  float v[kLanes];
  f32x16() : f32x16(0.0f) {}
  f32x16(float x) {
    for (float& e : v) e = x;
  }
};
namespace detail {
template <class F> inline f32x16 lanes(F f) {
  f32x16 r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = f(i);
  return r;
}
}  // namespace detail
inline f32x16 operator+(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] + b.v[i]; });
}
inline f32x16 operator-(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] - b.v[i]; });
}
inline f32x16 operator*(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] * b.v[i]; });
}
inline f32x16 operator/(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] / b.v[i]; });
}
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return detail::lanes([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline f32x16 max(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline f32x16 min(f32x16 a, f32x16 b) {
  return detail::lanes([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline f32x16 abs(f32x16 a) {
  return detail::lanes([&](int i) { return std::fabs(a.v[i]); });
}
inline f32x16 sqrt(f32x16 a) {
  return detail::lanes([&](int i) { return std::sqrt(a.v[i]); });
}
inline f32x16 reciprocal(f32x16 a) { return f32x16(1.0f) / a; }
inline f32x16 copysign(f32x16 m, f32x16 s) {
  return detail::lanes([&](int i) { return std::copysign(m.v[i], s.v[i]); });
}
inline f32x16 round(f32x16 a) {
  return detail::lanes([&](int i) { return std::nearbyint(a.v[i]); });
}
inline f32x16 fraction(f32x16 a) {
  return detail::lanes([&](int i) { return std::isinf(a.v[i]) ? 0.0f : a.v[i] - std::floor(a.v[i]); });
}
inline f32x16 scale2(f32x16 a, f32x16 n) {
  return detail::lanes([&](int i) {
    const float bounded = std::fmin(std::fmax(std::floor(n.v[i]), -512.0f), 512.0f);
    return n.v[i] == n.v[i] ? std::ldexp(a.v[i], static_cast<int>(bounded)) : n.v[i];
  });
}
inline f32x16 log2(f32x16 a) {
  return detail::lanes([&](int i) { return std::log2(a.v[i]); });
}
inline f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
  return detail::lanes([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; });
}
inline f32x16 load(const float* p) {
  return detail::lanes([&](int i) { return p[i]; });
}
inline void store(float* p, f32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}
inline f32x16 load(const float* p, int n) {
  return detail::lanes([&](int i) { return i < n ? p[i] : 0.0f; });
}
inline void store(float* p, f32x16 a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
inline f32x16 load(const bf16* p) {
  return detail::lanes([&](int i) { return static_cast<float>(p[i]); });
}
inline void store(bf16* p, f32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = bf16(a.v[i]);
}
inline f32x16 load(const bf16* p, int n) {
  return detail::lanes([&](int i) { return i < n ? static_cast<float>(p[i]) : 0.0f; });
}
inline void store(bf16* p, f32x16 a, int n) {
  for (int i = 0; i < n; ++i) p[i] = bf16(a.v[i]);
}
inline f32x16 keep_first(f32x16 a, int n, f32x16 fill) {
  return detail::lanes([&](int i) { return i < n ? a.v[i] : fill.v[i]; });
}
inline float sum(f32x16 a) {
  for (int half = kLanes / 2; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}
inline float max(f32x16 a) {
  float m = a.v[0];
  for (int i = 1; i < kLanes; ++i) m = a.v[i] > m ? a.v[i] : m;
  return m;
}

#endif

// e^x to about 1 ulp: 2^n times a degree-6 polynomial on |r| <= ln2/2. e^-inf = 0, NaN stays NaN (hence the
// operand order).
inline f32x16 exp(f32x16 x) {
  const f32x16 clamped = max(f32x16(-104.0f), min(f32x16(89.0f), x));
  const f32x16 n = round(clamped * f32x16(1.44269504088896341f));
  f32x16 r = fma(n, f32x16(-0.693145751953125f), clamped);
  r = fma(n, f32x16(-1.42860682030941723e-6f), r);
  f32x16 p = f32x16(1.9875691500e-4f);
  p = fma(p, r, f32x16(1.3981999507e-3f));
  p = fma(p, r, f32x16(8.3334519073e-3f));
  p = fma(p, r, f32x16(4.1665795894e-2f));
  p = fma(p, r, f32x16(1.6666665459e-1f));
  p = fma(p, r, f32x16(5.0000001201e-1f));
  p = fma(p, r * r, r + f32x16(1.0f));
  return scale2(p, n);
}

// 2^x to about 1 ulp: 2^floor(x) times a minimax polynomial in the fraction, exact at integers. 2^-inf = 0,
// NaN stays NaN. Two thirds of the instructions of exp: where many are needed, fold log2(e) into a factor
// that is there anyway.
inline f32x16 exp2(f32x16 x) {
  const f32x16 r = fraction(x);
  f32x16 p = f32x16(2.1612915943e-4f);
  p = fma(p, r, f32x16(1.2467846174e-3f));
  p = fma(p, r, f32x16(9.6754515936e-3f));
  p = fma(p, r, f32x16(5.5485280608e-2f));
  p = fma(p, r, f32x16(2.4022930555e-1f));
  p = fma(p, r, f32x16(6.9314704444e-1f));
  return scale2(fma(p, r, f32x16(1.0f)), x);
}

// The standard normal above w: tail = P(Z > w) = erfc(w / sqrt 2) / 2, bell = e^(-w^2/2), for 0 <= w <= 14.5
// (there both are 0).
struct NormalTail {
  f32x16 tail, bell;
};
// tail / bell falls smoothly from 1/2 towards 1 / (w sqrt(2 pi)): a polynomial in t = 1 / (1 + 0.3 w),
// minimax in relative error (7e-8 with these rounded coefficients; own fit). So the tail keeps its relative
// accuracy where 1 - erf would cancel.
inline NormalTail normal_tail(f32x16 w) {
  const f32x16 bell = exp2(w * w * f32x16(-0.72134752044448170f));  // log2(e) / 2
  const f32x16 t = reciprocal(fma(w, f32x16(0.3f), f32x16(1.0f)));
  f32x16 p = f32x16(0x1.3aa226p-5f);
  p = fma(p, t, f32x16(-0x1.5abde2p-3f));
  p = fma(p, t, f32x16(0x1.d4e4b2p-3f));
  p = fma(p, t, f32x16(-0x1.3abc46p-4f));
  p = fma(p, t, f32x16(0x1.246222p-3f));
  p = fma(p, t, f32x16(0x1.836c74p-4f));
  p = fma(p, t, f32x16(0x1.f37ce0p-4f));
  p = fma(p, t, f32x16(0x1.e96846p-4f));
  p = fma(p, t, f32x16(0x1.eec0f0p-18f));
  return {p * bell, bell};
}

// Calls f(offset, lanes) over a row of c elements; lanes is 16 except in the tail. Use load(p, lanes) and
// store(p, v, lanes): inlined with the constant 16 they cost no mask.
template <class F> inline void for_lanes(int64_t c, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= c; i += kLanes) f(i, kLanes);
  if (i < c) f(i, static_cast<int>(c - i));
}

// y = x over n elements, converted where the types differ.
template <class Y, class X> inline void copy_row(Y* y, const X* x, int64_t n) {
  if constexpr (std::is_same_v<X, Y>) {
    std::memcpy(y, x, static_cast<size_t>(n) * sizeof(Y));
  } else {
    for_lanes(n, [&](int64_t i, int m) { store(y + i, load(x + i, m), m); });
  }
}
// y += x over n elements, summed in f32.
template <class Y, class X> inline void add_row(Y* y, const X* x, int64_t n) {
  for_lanes(n, [&](int64_t i, int m) { store(y + i, load(y + i, m) + load(x + i, m), m); });
}

}  // namespace tessera
