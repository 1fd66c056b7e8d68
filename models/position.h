// Position tables: fixed sine-cosine ones, and their resizing to another grid.
#pragma once

#include <cstdint>

#include "engine/tensor.h"

namespace tessera {

// 2-D sine-cosine table of MAE (spec mae.md section 2.2): writes (class_slots + rows*cols) * dim floats;
// class slots are zero, patches row-major. The first half of a vector encodes the column, the second the row,
// each [sines, cosines]. Computed in double, rounded once. Throws Error(config) unless dim is divisible by 4.
void sincos_2d(float* out, int64_t dim, int64_t rows, int64_t cols, int64_t class_slots);

// Bicubic (a = -0.75, half-pixel centres, clamped, no antialiasing) resize of a position table [1, extra +
// r0*c0, D] f32 to [1, extra + rows*cols, D]; the first `extra` slots stay (spec vit.md section 7). Grids
// need not be square. Throws Error(checkpoint) if the table does not have extra + r0*c0 slots.
Tensor resize_positions(const Tensor& table, int64_t extra, int64_t r0, int64_t c0, int64_t rows,
                        int64_t cols);

}  // namespace tessera
