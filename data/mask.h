// Masking noise and the number of patches it keeps (spec mae.md 2.4). The mask itself is ops/argsort_rows of
// the noise.
#pragma once

#include "engine/tensor.h"

namespace tessera {

// f32 [B, L], uniform in [0, 1): element n of row b is Philox(seed, mask, step, first_sample + b).uniform(n),
// where first_sample is the batch's first position in the global batch. Throws Error(internal) on negative
// sizes.
Tensor random_noise(uint64_t seed, int64_t step, int64_t first_sample, int64_t B, int64_t L);

// Patches an encoder keeps of L: trunc(L * (1 - mask_ratio)) in double, as the reference. Throws
// Error(config) naming the ratio when that is none (nothing to encode) or all (nothing to predict).
int64_t kept(int64_t L, double mask_ratio);

}  // namespace tessera
