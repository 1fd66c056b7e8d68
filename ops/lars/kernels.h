// The contract of lars' halves: the op has checked its arguments.
#pragma once

#include <span>

#include "engine/slab.h"

namespace tessera {

struct LarsOptions {
  double momentum = 0.9;
  double weight_decay = 0.0;
  double trust = 0.001;
};

struct LarsKernels {
  void (*update)(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer,
                 const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
                 const LarsOptions& options);
};

extern const LarsKernels lars_cpu;

}  // namespace tessera
