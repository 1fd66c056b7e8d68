// Position tables: fixed sine-cosine ones, and the resizing of learned ones to another grid.
#pragma once

#include <cstdint>

#include "engine/tensor.h"

namespace tessera {

// 2-D sine-cosine table of MAE (spec mae.md section 2.2): writes (class_slots + rows*cols) * dim floats;
// class slots are zero, patches row-major. The first half of a vector encodes the column, the second the row,
// each [sines, cosines]. Computed in double, rounded once. Throws Error(config) unless dim is divisible by 4.
void sincos_2d(float* out, int64_t dim, int64_t rows, int64_t cols, int64_t class_slots);

// Space-time table of MaskFeat (spec maskfeat.md 14.3): writes (class_slots + frames*rows*cols) * dim floats,
// frames first. The first quarter of a vector encodes the frame as [sines, cosines], the rest is a sincos_2d
// of 3/4 of the width. Throws Error(config) unless dim is divisible by 16.
void sincos_3d(float* out, int64_t dim, int64_t frames, int64_t rows, int64_t cols, int64_t class_slots);

// Bicubic (a = -0.75, half-pixel centres, clamped, no antialiasing) resize of a position table [1, extra +
// r0*c0, D] f32 to [1, extra + rows*cols, D]; the first `extra` slots stay (spec vit.md section 7). Grids
// need not be square. Swin's relative tables [(2M-1)^2, H] are resized by the same rule (spec swin.md), as
// [1, (2M-1)^2, H]. Throws Error(checkpoint) if the table does not have extra + r0*c0 slots.
Tensor resize_positions(const Tensor& table, int64_t extra, int64_t r0, int64_t c0, int64_t rows,
                        int64_t cols);

struct PositionGrid {
  int64_t frames = 1, rows = 1, cols = 1;
  int64_t slots() const { return frames * rows * cols; }
};

// The same, linear along each axis (half-pixel centres, clamped, no antialiasing): MViT's relative tables
// (rows only) and absolute ones (spec mvit.md 7.4), PVT's (frames = 1). Throws as resize_positions.
Tensor resize_positions_linear(const Tensor& table, int64_t extra, PositionGrid from, PositionGrid to);

// SimMIM's resize of a relative table [s*s, H] f32 to [side*side, H], s and side odd (spec simmim.md A7): a
// tensor-product cubic spline with not-a-knot ends through the old entries, which are thought to lie at 0,
// +-1, +-(1+q), +-(1+q+q^2), ... with q such that they reach as far as the new ones, which lie one apart.
// Throws Error(checkpoint) if the table is not square, or below 5 x 5 (a cubic needs four points).
Tensor resize_relative_table(const Tensor& table, int64_t side);

}  // namespace tessera
