// Checks of adamw.
#include "ops/adamw/adamw.h"

#include <array>

#include "engine/check.h"
#include "engine/profile.h"
#include "ops/adamw/kernels.h"

namespace tessera {

void adamw(const Tensor& master, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
           const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
           const AdamWOptions& options) {
  const std::array slabs{master, grad, exp_avg, exp_avg_sq};
  check_slabs("adamw", slabs, compute_copy, segments, state);
  TS_CHECK(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
           "adamw: betas are {} and {}, wanted 0 <= beta < 1", options.beta1, options.beta2);
  TS_CHECK(options.eps >= 0 && options.weight_decay >= 0,
           "adamw: eps is {} and weight decay {}, wanted 0 or more", options.eps, options.weight_decay);
  const ProfileScope scope("adamw", 2 * bytes_of(master, exp_avg, exp_avg_sq) + bytes_of(grad, compute_copy));
  half_on(master.device(), adamw_cpu)
      .update(master, grad, exp_avg, exp_avg_sq, compute_copy, segments, state, options);
}

}  // namespace tessera
