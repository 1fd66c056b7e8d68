// The one matrix product of attention, on 32-bit words. A word is one float (Single), or two bf16 neighbours
// in depth (Pair, which VDPBF16PS multiplies and adds into f32): f32 and bf16 share every loop. Scratch words
// are declared float either way.
#pragma once

#include <array>
#include <utility>

#include "engine/simd.h"

#if defined(TESSERA_AVX512) && defined(__AVX512BF16__)
#define TESSERA_BF16_DOT 1
#endif

namespace tessera::tile {

// A matrix of words whose rows lie `stride` words apart.
struct Words {
  float* p = nullptr;
  int64_t stride = 0;
  float* row(int64_t r) const { return p + r * stride; }
};

inline int64_t vectors(int64_t n) { return (n + kLanes - 1) / kLanes; }
// Stride for rows of n words: whole vectors, and an odd number of them, or rows would crowd into few sets of
// the L1 cache.
inline int64_t padded(int64_t n) { return (vectors(n) | 1) * kLanes; }
// Where part i of `parts` near-equal parts of n begins.
inline int64_t part(int64_t n, int64_t parts, int64_t i) { return n * i / parts; }

struct Single {
  static constexpr int kPerWord = 1;
  static f32x16 fma_words(f32x16 a, f32x16 b, f32x16 c) { return fma(a, b, c); }
  // Numbers [i, i + 16) of a row whose depth runs along it.
  static void store_numbers(float* row, int64_t i, f32x16 x) { store(row + i, x); }
  template <class T> static void store_result(T* p, f32x16 x, int lanes) { store(p, x, lanes); }
};

#ifdef TESSERA_BF16_DOT
struct Pair {
  static constexpr int kPerWord = 2;
  static f32x16 fma_words(f32x16 a, f32x16 b, f32x16 c) {
    return _mm512_dpbf16_ps(c.v, (__m512bh)_mm512_castps_si512(a.v), (__m512bh)_mm512_castps_si512(b.v));
  }
  static void store_numbers(float* row, int64_t i, f32x16 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + i / 2), (__m256i)_mm512_cvtneps_pbh(x.v));
  }
  static void store_result(bf16* p, f32x16 x, int lanes) {
    _mm256_mask_storeu_epi16(p, tail_mask(lanes), (__m256i)_mm512_cvtneps_pbh(x.v));
  }
  // Words (even[i], odd[i]), rounded to bf16.
  static f32x16 join(f32x16 even, f32x16 odd) {
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd.v, even.v);
    const __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i order = _mm512_or_si512(at,
                                          _mm512_slli_epi32(_mm512_add_epi32(at, _mm512_set1_epi32(16)), 16));
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves));
  }
};
#endif

// Words that hold n numbers in depth.
template <class Op> int64_t words(int64_t n) { return (n + Op::kPerWord - 1) / Op::kPerWord; }

inline constexpr int kTileRows = 8;  // 8 x 3 accumulators, 3 of B and 1 of A: 28 of the 32 registers
inline constexpr int kTileVectors = 3;

// c[m][v] = or += (add) sum over k < depth of A(m,k) * b[k][v]; A(m,k) = a[m][k], or a[k][m] if kTransposed.
template <class Op, bool kTransposed, int kRows, int kVectors>
void multiply_tile(Words c, Words a, Words b, int64_t depth, bool add) {
  f32x16 sums[kRows][kVectors];
  for (int64_t k = 0; k < depth; ++k) {
    f32x16 bv[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) bv[v] = load(b.p + k * b.stride + v * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const f32x16 av(kTransposed ? a.p[k * a.stride + m] : a.p[m * a.stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[m][v] = Op::fma_words(av, bv[v], sums[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      float* to = c.row(m) + v * kLanes;
      store(to, add ? load(to) + sums[m][v] : sums[m][v]);
    }
  }
}

using Tile = void (*)(Words c, Words a, Words b, int64_t depth, bool add);
template <class Op, bool kTransposed, size_t... kIndex>
constexpr std::array<Tile, sizeof...(kIndex)> make_tiles(std::index_sequence<kIndex...>) {
  return {&multiply_tile<Op, kTransposed, kIndex / kTileVectors + 1, kIndex % kTileVectors + 1>...};
}
template <class Op, bool kTransposed>
inline constexpr auto kTiles =
    make_tiles<Op, kTransposed>(std::make_index_sequence<kTileRows * kTileVectors>());

// C = or += (add) A B. c [rows][vectors*16] f32; a [rows][depth] words, or [depth][rows] if kTransposed; b
// [depth][vectors*16] words. Each element is summed over depth in order. Uneven sizes are split into
// near-equal tiles: no tile is mostly padding.
template <class Op, bool kTransposed>
void multiply(Words c, Words a, Words b, int64_t rows, int64_t vectors, int64_t depth, bool add = false) {
  const int64_t row_parts = (rows + kTileRows - 1) / kTileRows,
                panels = (vectors + kTileVectors - 1) / kTileVectors;
  for (int64_t q = 0; q < panels; ++q) {  // outer, so that a panel of b stays in L1
    const int64_t v0 = part(vectors, panels, q), v1 = part(vectors, panels, q + 1);
    for (int64_t r = 0; r < row_parts; ++r) {
      const int64_t m0 = part(rows, row_parts, r), m1 = part(rows, row_parts, r + 1);
      const Words at{kTransposed ? a.p + m0 : a.row(m0), a.stride};
      kTiles<Op, kTransposed>[static_cast<size_t>((m1 - m0 - 1) * kTileVectors + v1 - v0 - 1)](
          Words{c.row(m0) + v0 * kLanes, c.stride}, at, Words{b.p + v0 * kLanes, b.stride}, depth, add);
    }
  }
}

}  // namespace tessera::tile
