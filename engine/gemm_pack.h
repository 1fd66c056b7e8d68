// Weights in panels, the layout in which oneDNN's AVX-512 matrix product reads its right-hand side fastest.
#pragma once

#include "engine/tensor.h"

namespace tessera::gemm {

// Columns of a panel.
inline constexpr int64_t kPanel = 64;

// Rows of the packed matrix: k padded to 16 (f32) or 32 (bf16).
constexpr int64_t padded_rows(int64_t k, DType d) {
  const int64_t to = d == DType::bf16 ? 32 : 16;
  return (k + to - 1) / to * to;
}
// Bytes of a packed [k,n] matrix.
constexpr int64_t panel_bytes(int64_t k, int64_t n, DType d) {
  return (n + kPanel - 1) / kPanel * kPanel * padded_rows(k, d) * size_of(d);
}

// Writes the matrix b [k,n] (k is summed over) into `panels`, 64-byte aligned, padding zero:
//   f32   [n/64][k padded to 16][64]
//   bf16  [n/64][k padded to 32, in pairs][64][2]
// b is w [k,n], or with `transposed` the transpose of w [n,k]. f32 or bf16.
void pack_panels(std::byte* panels, const Tensor& w, bool transposed);

}  // namespace tessera::gemm
