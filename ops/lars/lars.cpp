// Checks of lars.
#include "ops/lars/lars.h"

#include <array>

#include "engine/check.h"
#include "engine/profile.h"
#include "ops/lars/kernels.h"

namespace tessera {

void lars(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer, const Tensor& compute_copy,
          std::span<const Segment> segments, const Tensor& state, const LarsOptions& options) {
  const std::array slabs{master, grad, momentum_buffer};
  check_slabs("lars", slabs, compute_copy, segments, state);
  TS_CHECK(options.momentum >= 0 && options.momentum < 1, "lars: momentum is {}, wanted 0 <= momentum < 1",
           options.momentum);
  TS_CHECK(options.weight_decay >= 0 && options.trust > 0,
           "lars: weight decay is {}, wanted 0 or more; trust is {}, wanted above 0", options.weight_decay,
           options.trust);
  const ProfileScope scope("lars", 2 * bytes_of(master, momentum_buffer) + bytes_of(grad, compute_copy));
  half_on(master.device(), lars_cpu)
      .update(master, grad, momentum_buffer, compute_copy, segments, state, options);
}

}  // namespace tessera
