// The residual connection with stochastic depth (Huang et al. 2016; spec vit.md section 2, DP).
#pragma once

#include <cstdint>

#include "autograd/var.h"

namespace tessera {

// y[b] = x[b] + keep[b] * f[b]. x [B, ...] f32 or bf16 (the residual stream is f32); f of x's shape, f32 or
// bf16; keep [B] f32, or undefined for 1; y like x. Throws if a shape or dtype differs. The gradient of x is
// y's, handed on without a copy.
Var residual(const Var& x, const Var& f, const Tensor& keep = {});

// The factors of one branch for samples first_sample .. first_sample + B - 1 of a global batch: floor(1 -
// rate + u) / (1 - rate), in f32 as in timm (layers/drop.py), u the uniform number at (seed, drop_path, step,
// sample, element); element = 2 * block + branch. Returns [B] f32, or an undefined Tensor (= keep all) when
// rate is 0. Throws unless 0 <= rate < 1.
Tensor drop_path_keep(uint64_t seed, int64_t step, int64_t first_sample, int64_t batch, int64_t element,
                      double rate);
// The same from given draws [B] f32 in [0, 1).
Tensor drop_path_keep(const Tensor& uniform_draws, double rate);

}  // namespace tessera
