// The contract of adamw's halves: the op has checked its arguments.
#pragma once

#include <span>

#include "engine/slab.h"

namespace tessera {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.05;  // of segments with decay
};

struct AdamWKernels {
  void (*update)(const Tensor& master, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
                 const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
                 const AdamWOptions& options);
};

extern const AdamWKernels adamw_cpu;

}  // namespace tessera
