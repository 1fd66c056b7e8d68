// GELU in its exact form, with the normal distribution function (Hendrycks & Gimpel 2016; spec vit.md section
// 2).
#pragma once

#include "autograd/var.h"

namespace tessera {

// y = x * Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2; dy/dx = Phi(x) + x * phi(x), phi(x) = e^(-x^2/2) /
// sqrt(2 pi). x of any shape, f32 or bf16; y like x. Throws on another dtype. gelu(-inf) is 0, NaN stays NaN.
Var gelu(const Var& x);

}  // namespace tessera
