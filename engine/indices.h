// Index tensors handed in by callers: the check that keeps a wrong one from reading or writing elsewhere.
#pragma once

#include "engine/tensor.h"

namespace tessera {

// Every element of `ids` (i32, on the CPU, any shape) must be in [0, limit). Otherwise throws
// "<op>: <what>[3, 17] is 250, wanted 0 to 195".
void check_indices(const char* op, const char* what, const Tensor& ids, int64_t limit);

}  // namespace tessera
