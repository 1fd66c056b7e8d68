#include "data/mask.h"

#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/profile.h"
#include "engine/random.h"

namespace tessera {

Tensor random_noise(uint64_t seed, int64_t step, int64_t first_sample, int64_t B, int64_t L) {
  TS_CHECK(step >= 0 && first_sample >= 0 && B >= 0 && L >= 0,
           "random_noise: step {}, first sample {}, B {}, L {}", step, first_sample, B, L);
  const Tensor noise({B, L}, DType::f32, Device::cpu(), "masks");
  const ProfileScope scope("random_noise", bytes_of(noise));
  float* out = noise.data<float>();
  parallel_for(B, 16, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const Philox random(seed, Purpose::mask, static_cast<uint64_t>(step),
                          static_cast<uint64_t>(first_sample + b));
      for (int64_t n = 0; n < L; ++n) out[b * L + n] = random.uniform(static_cast<uint64_t>(n));
    }
  });
  return noise;
}

int64_t kept(int64_t L, double mask_ratio) {
  TS_CHECK(L >= 1, "kept: {} patches", L);
  if (!(mask_ratio >= 0 && mask_ratio <= 1)) {
    fail(ErrorKind::config, "mask ratio {}: wanted a number between 0 and 1", mask_ratio);
  }
  const int64_t k = static_cast<int64_t>(static_cast<double>(L) * (1.0 - mask_ratio));
  if (k == 0) {
    fail(ErrorKind::config, "mask ratio {} keeps none of {} patches; use a smaller ratio or smaller patches",
         mask_ratio, L);
  }
  if (k == L) {
    fail(ErrorKind::config,
         "mask ratio {} masks none of {} patches, so there is nothing to predict; use a larger ratio",
         mask_ratio, L);
  }
  return k;
}

}  // namespace tessera
