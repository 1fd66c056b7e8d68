// The contract of sgd's halves: the op has checked its arguments.
#pragma once

#include <span>

#include "engine/slab.h"

namespace tessera {

struct SgdOptions {
  double momentum = 0.9;
  double weight_decay = 0.0;  // of segments with decay
  bool nesterov = false;
};

struct SgdKernels {
  void (*update)(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer,
                 const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
                 const SgdOptions& options);
};

extern const SgdKernels sgd_cpu;

}  // namespace tessera
