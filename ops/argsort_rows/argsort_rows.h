// Orders from noise: the permutation that sorts each row, and its inverse (He et al. 2022; spec mae.md
// section 2.4).
#pragma once

#include "engine/tensor.h"

namespace tessera {

// shuffle[b,j] is the position of the j-th smallest noise of row b; restore[b,n] the rank of position n:
// restore[b, shuffle[b,j]] = j. Both [B,L] i32.
struct Order {
  Tensor shuffle, restore;
};

// noise [B,L] f32. Ascending; equal values keep their order (0 and -0 are equal). Throws on another shape or
// dtype, or a NaN.
Order argsort_rows(const Tensor& noise);

}  // namespace tessera
