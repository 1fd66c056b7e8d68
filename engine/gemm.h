// The one door to matrix multiply. Behind it: oneDNN on the CPU, cuBLASLt on a GPU.
// The door packs weights itself, in memory that lives as long as the product.
// Types: x, w, y all f32, or x and w bf16 with y bf16 or f32; sums are always f32.
// Bits do not depend on thread count.
// Sizes are at least 1; anything else that does not fit throws and says so.
// bf16 needs AVX-512: with AVX512_BF16 at twice the f32 rate, without it emulated and slow, or Error(config).
#pragma once

#include <string>

#include "engine/tensor.h"

namespace tessera::gemm {

// y = x wᵀ + bias.  x [M,K], w [N,K], bias [N] f32 or undefined, y [M,N]. Overwrites y.
void forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias);

// dx = dy w.  dy [M,N], w [N,K], dx [M,K]. Overwrites dx.
void input_gradient(const Tensor& dx, const Tensor& dy, const Tensor& w);

// dw = dyᵀ x, or dw += dyᵀ x.  dy [M,N], x [M,K] of one dtype, dw [N,K] f32.
// First write overwrites, later writes accumulate.
void weight_gradient(const Tensor& dw, const Tensor& dy, const Tensor& x, bool accumulate);

// db = column sums of dy, or db += them.  dy [M,N], db [N] f32.
void bias_gradient(const Tensor& db, const Tensor& dy, bool accumulate);

// What computes forward for plain weights, as the library names it ("brg:avx512_core"). For tests.
std::string forward_implementation(int64_t m, int64_t n, int64_t k, DType d);

}  // namespace tessera::gemm
