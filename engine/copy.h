// The four memory primitives that every room may assume: copy, fill, cast, accumulate.
// (Kernels otherwise live in ops/.)
#pragma once

#include "engine/tensor.h"

namespace tessera {

// dst = src. Same shape and dtype.
void copy(const Tensor& dst, const Tensor& src);
// Every element of dst = value, converted to its dtype.
void fill(const Tensor& dst, double value);
// dst = src converted. Same shape; any pair of numeric dtypes.
// Floats round to nearest even; float to integer truncates.
void cast(const Tensor& dst, const Tensor& src);
// dst += src, same shape, each f32 or bf16; the sum is formed in f32 and rounded to dst's dtype.
void accumulate(const Tensor& dst, const Tensor& src);

}  // namespace tessera
