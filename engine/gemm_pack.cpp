// The packer works in units of 32 bits: one f32, or two bf16 that follow each other along k. A panel is then
// [rows][64] units in either type, and packing wᵀ is a transposition of units.
#include "engine/gemm_pack.h"

#include <algorithm>
#include <cstring>

#include "engine/parallel.h"
#include "engine/simd.h"

namespace tessera::gemm {
namespace {

constexpr int64_t kTile = 16;  // units

// dst[r][j] = unit r of source row j, for 16 x 16 units; `bytes` of each of `rows` source rows exist,
// the rest is zero.
#ifdef TESSERA_AVX512

// Exchanges blocks of S lanes between rows S apart; S = 8, 4, 2, 1 in turn transposes.
template <int S> void exchange(__m512i (&r)[kTile]) {
  alignas(64) int low[kTile], high[kTile];
  for (int i = 0; i < kTile; ++i) {
    low[i] = (i & S) == 0 ? i : kTile + i - S;
    high[i] = (i & S) == 0 ? i + S : kTile + i;
  }
  const __m512i at_low = _mm512_load_si512(low), at_high = _mm512_load_si512(high);
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) {
    if ((i & S) != 0) continue;
    const __m512i a = r[i], b = r[i + S];
    r[i] = _mm512_permutex2var_epi32(a, at_low, b);
    r[i + S] = _mm512_permutex2var_epi32(a, at_high, b);
  }
}

void transpose_tile(std::byte* dst, const std::byte* src, int64_t stride, int64_t rows, int64_t bytes) {
  const __mmask64 some = bytes >= 64 ? ~__mmask64{0} : (__mmask64{1} << bytes) - 1;
  __m512i r[kTile];
#pragma GCC unroll 16
  for (int j = 0; j < kTile; ++j) {
    r[j] = j < rows ? _mm512_maskz_loadu_epi8(some, src + j * stride) : _mm512_setzero_si512();
  }
  exchange<8>(r);
  exchange<4>(r);
  exchange<2>(r);
  exchange<1>(r);
#pragma GCC unroll 16
  for (int i = 0; i < kTile; ++i) _mm512_store_si512(dst + i * kPanel * 4, r[i]);
}

#else

void transpose_tile(std::byte* dst, const std::byte* src, int64_t stride, int64_t rows, int64_t bytes) {
  for (int64_t j = 0; j < kTile; ++j) {
    for (int64_t i = 0; i < kTile; ++i) {
      std::byte* unit = dst + (i * kPanel + j) * 4;
      std::memset(unit, 0, 4);
      const int64_t there = j < rows ? std::clamp<int64_t>(bytes - i * 4, 0, 4) : 0;
      std::memcpy(unit, src + j * stride + i * 4, static_cast<size_t>(there));
    }
  }
}

#endif

// One panel of wᵀ, w [n,k]: columns of the panel are rows [first, first + 64) of w.
void pack_transposed(std::byte* panel, const std::byte* w, int64_t first, int64_t n, int64_t row_bytes,
                     int64_t units) {
  for (int64_t j = 0; j < kPanel; j += kTile) {
    const int64_t rows = std::clamp<int64_t>(n - first - j, 0, kTile);
    const std::byte* row = w + (rows > 0 ? (first + j) * row_bytes : 0);
    for (int64_t u = 0; u < units; u += kTile) {
      const int64_t bytes = std::clamp<int64_t>(row_bytes - u * 4, 0, kTile * 4);
      transpose_tile(panel + (u * kPanel + j) * 4, bytes > 0 ? row + u * 4 : row, row_bytes, rows, bytes);
    }
  }
}

// One panel of w [k,n]: columns [first, first + 64).
void pack_straight(float* panel, const float* w, int64_t first, int64_t k, int64_t n, int64_t units) {
  const int64_t columns = std::min(kPanel, n - first);
  for (int64_t r = 0; r < units; ++r) {
    float* out = panel + r * kPanel;
    const int64_t there = r < k ? columns : 0;
    std::copy_n(w + (r < k ? r * n + first : 0), there, out);
    std::fill(out + there, out + kPanel, 0.0f);
  }
}

void pack_straight(uint32_t* panel, const bf16* w, int64_t first, int64_t k, int64_t n, int64_t units) {
  const int64_t columns = std::min(kPanel, n - first);
  static constexpr bf16 zeros[kPanel] = {};
  for (int64_t r = 0; r < units; ++r) {
    const bf16* even = 2 * r < k ? w + 2 * r * n + first : zeros;
    const bf16* odd = 2 * r + 1 < k ? w + (2 * r + 1) * n + first : zeros;
    uint32_t* out = panel + r * kPanel;
    for (int64_t j = 0; j < columns; ++j) out[j] = even[j].bits | static_cast<uint32_t>(odd[j].bits) << 16;
    std::fill(out + columns, out + kPanel, 0u);
  }
}

}  // namespace

void pack_panels(std::byte* panels, const Tensor& w, bool transposed) {
  const int64_t k = w.dim(transposed ? 1 : 0), n = w.dim(transposed ? 0 : 1);
  const int64_t units = padded_rows(k, w.dtype()) * size_of(w.dtype()) / 4;
  const auto* source = static_cast<const std::byte*>(w.raw());
  parallel_for((n + kPanel - 1) / kPanel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      std::byte* panel = panels + p * units * kPanel * 4;
      if (transposed) {
        pack_transposed(panel, source, p * kPanel, n, k * size_of(w.dtype()), units);
      } else if (w.dtype() == DType::f32) {
        pack_straight(reinterpret_cast<float*>(panel), w.data<float>(), p * kPanel, k, n, units);
      } else {
        pack_straight(reinterpret_cast<uint32_t*>(panel), w.data<bf16>(), p * kPanel, k, n, units);
      }
    }
  });
}

}  // namespace tessera::gemm
