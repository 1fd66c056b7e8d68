// Batch normalisation of feature vectors, without affine: what a linear probe puts before its classifier
// (Ioffe & Szegedy 2015; spec evaluation.md section 6).
#pragma once

#include "autograd/var.h"

namespace tessera {

enum class BatchNormMode {
  training,    // by the batch's mean and biased variance; moves the running statistics (unbiased variance)
  evaluation,  // by the running statistics
};

// y[b,d] = (x[b,d] - mean[d]) / sqrt(var[d] + eps).  x [B,D] f32 or bf16, y the same; statistics in f32.
// running_mean, running_var [D] f32 start at 0 and 1; training: running = (1 - momentum) running + momentum
// batch. Throws on other shapes or dtypes, or training on fewer than two samples (the unbiased variance needs
// them).
Var batch_norm(const Var& x, const Tensor& running_mean, const Tensor& running_var, BatchNormMode mode,
               float eps = 1e-6f, float momentum = 0.1f);

}  // namespace tessera
