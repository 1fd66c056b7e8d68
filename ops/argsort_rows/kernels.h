// The contract of argsort_rows' halves: all [B,L].
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct ArgsortRowsKernels {
  // Throws if noise holds a NaN.
  void (*forward)(const Tensor& shuffle, const Tensor& restore, const Tensor& noise);
};

extern const ArgsortRowsKernels argsort_rows_cpu;

}  // namespace tessera
