// Rows of a tensor, f32 or bf16, to and from the words that tile.h multiplies. Padding is zero everywhere.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/attention/tile.h"

namespace tessera::tile {

// Rows of a tensor that lie `stride` elements apart: one head's q, k, v or output.
template <class T> struct Rows {
  T* p = nullptr;
  int64_t stride = 0;
  T* row(int64_t r) const { return p + r * stride; }
  Rows from(int64_t r) const { return {row(r), stride}; }
};

// Asks for rows [begin, end) of d elements ahead of their use: a head's rows lie far apart, which no hardware
// prefetcher follows.
template <class T> void prefetch(Rows<T> rows, int64_t begin, int64_t end, int64_t d) {
  for (int64_t r = begin; r < end; ++r) {
    const char *first = reinterpret_cast<const char*>(rows.row(r)),
               *last = first + d * static_cast<int64_t>(sizeof(T)) - 1;
    for (const char* p = first; p <= last; p += 64) __builtin_prefetch(p, std::is_const_v<T> ? 0 : 1, 2);
    __builtin_prefetch(last, std::is_const_v<T> ? 0 : 1, 2);
  }
}

// Words [w, w + 16) of a row of d numbers.
template <class Op, class T> f32x16 load_words(const T* row, int64_t w, int64_t d) {
  if constexpr (Op::kPerWord == 1) {
    const int64_t n = d - w;
    return n >= kLanes ? load(row + w) : load(row + w, static_cast<int>(n));
  } else {
#ifdef TESSERA_BF16_DOT
    const int64_t n = d - 2 * w;
    const __mmask32 mask = n >= 32 ? 0xffffffffu : (1u << n) - 1u;
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, row + 2 * w));
#endif
  }
}

// to[r][w]: n rows as they lie, depth along the row.
template <class Op, class T> void pack_rows(Words to, Rows<const T> from, int64_t n, int64_t d) {
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t w = 0; w < words<Op>(d); w += kLanes)
      store(to.row(r) + w, load_words<Op>(from.row(r), w, d));
  }
}

// to[w][i]: depth along the rows; for Pair, word i of row w holds (row 2w, row 2w + 1)[i].
template <class Op, class T> void pack_depth(Words to, Rows<const T> from, int64_t n, int64_t d) {
  if constexpr (Op::kPerWord == 1) {
    pack_rows<Op>(to, from, n, d);
  } else {
    for (int64_t r = 0; r < n; r += 2) {
      for_lanes(d, [&](int64_t i, int lanes) {
        const f32x16 even = load(from.row(r) + i, lanes),
                     odd = r + 1 < n ? load(from.row(r + 1) + i, lanes) : f32x16();
        store(to.row(r / 2) + i, Op::join(even, odd));
      });
    }
  }
}

// Transposes 16 x 16 words in place.
inline void transpose(f32x16 (&r)[kLanes]) {
#ifdef TESSERA_AVX512
  __m512 t[kLanes];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  const auto lo = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  const auto hi = [](__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  };
  __m512 u[kLanes];  // u[4g + c]: in 128-bit lane l, rows 4g..4g+3 of column 4l + c
  for (int g = 0; g < 16; g += 4) {
    u[g] = lo(t[g], t[g + 2]);
    u[g + 1] = hi(t[g], t[g + 2]);
    u[g + 2] = lo(t[g + 1], t[g + 3]);
    u[g + 3] = hi(t[g + 1], t[g + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88),
                 b = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88);
    const __m512 e = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd),
                 f = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
    r[c] = _mm512_shuffle_f32x4(a, b, 0x88);
    r[8 + c] = _mm512_shuffle_f32x4(a, b, 0xdd);
    r[4 + c] = _mm512_shuffle_f32x4(e, f, 0x88);
    r[12 + c] = _mm512_shuffle_f32x4(e, f, 0xdd);
  }
#else
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) std::swap(r[i].v[j], r[j].v[i]);
  }
#endif
}

// to[w][r]: word w of row r, n rows; columns n.. up to a whole vector are zero.
template <class Op, class T> void pack_transposed(Words to, Rows<const T> from, int64_t n, int64_t d) {
  const int64_t depth = words<Op>(d);
  for (int64_t r = 0; r < n; r += kLanes) {
    for (int64_t w = 0; w < depth; w += kLanes) {
      f32x16 block[kLanes];
      for (int64_t i = 0; i < kLanes; ++i)
        block[i] = r + i < n ? load_words<Op>(from.row(r + i), w, d) : f32x16();
      transpose(block);
      for (int64_t i = 0; i < std::min<int64_t>(kLanes, depth - w); ++i) store(to.row(w + i) + r, block[i]);
    }
  }
}

// row[i] = from[i] * factor, d numbers.
template <class Op, class T> void write_row(T* row, const float* from, float factor, int64_t d) {
  for_lanes(d,
            [&](int64_t i, int lanes) { Op::store_result(row + i, load(from + i) * f32x16(factor), lanes); });
}

// Lane i of the result is f over the lanes of rows[i], in a fixed tree: sixteen sums or maxima for one
// transposition.
template <class F> f32x16 fold_rows(f32x16 (&rows)[kLanes], F f) {
  transpose(rows);
  for (int half = kLanes / 2; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) rows[i] = f(rows[i], rows[i + half]);
  }
  return rows[0];
}
inline f32x16 sum_rows(f32x16 (&rows)[kLanes]) {
  return fold_rows(rows, [](f32x16 a, f32x16 b) { return a + b; });
}
inline f32x16 max_rows(f32x16 (&rows)[kLanes]) {
  return fold_rows(rows, [](f32x16 a, f32x16 b) { return max(a, b); });
}

}  // namespace tessera::tile
