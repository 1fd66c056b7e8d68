// Mean squared error over the rows that a mask selects (He et al. 2022; spec mae.md section 2.6).
#pragma once

#include "autograd/var.h"

namespace tessera {

// e[r] = mean over P of (pred[r] - target[r])^2;  loss = sum(mask * e) / sum(mask).
// pred [..., P] f32 or bf16; target the same shape f32, a constant; mask f32, one weight per row of P (1 =
// counts, 0 = does not), or undefined: every row counts. loss [1] f32. If `row_error` is given it becomes e,
// of pred's shape without P, f32. Throws if a shape or dtype differs from this, or if sum(mask) is not above
// zero.
Var masked_mse(const Var& pred, const Tensor& target, const Tensor& mask, Tensor* row_error = nullptr);

}  // namespace tessera
