// Checks of sgd.
#include "ops/sgd/sgd.h"

#include <array>

#include "engine/check.h"
#include "engine/profile.h"
#include "ops/sgd/kernels.h"

namespace tessera {

void sgd(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer, const Tensor& compute_copy,
         std::span<const Segment> segments, const Tensor& state, const SgdOptions& options) {
  const std::array slabs{master, grad, momentum_buffer};
  check_slabs("sgd", slabs, compute_copy, segments, state);
  TS_CHECK(options.momentum >= 0 && options.momentum < 1, "sgd: momentum is {}, wanted 0 <= momentum < 1",
           options.momentum);
  TS_CHECK(options.weight_decay >= 0, "sgd: weight decay is {}, wanted 0 or more", options.weight_decay);
  const ProfileScope scope("sgd", 2 * bytes_of(master, momentum_buffer) + bytes_of(grad, compute_copy));
  half_on(master.device(), sgd_cpu)
      .update(master, grad, momentum_buffer, compute_copy, segments, state, options);
}

}  // namespace tessera
