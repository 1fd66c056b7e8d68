// Checks of argsort_rows.
#include "ops/argsort_rows/argsort_rows.h"

#include <cstdint>
#include <limits>

#include "engine/check.h"
#include "engine/profile.h"
#include "ops/argsort_rows/kernels.h"

namespace tessera {

Order argsort_rows(const Tensor& noise) {
  TS_CHECK(noise.rank() == 2, "argsort_rows: noise is {}, wanted [B,L]", noise.shape().str());
  TS_CHECK(noise.dtype() == DType::f32, "argsort_rows: noise is {}, wanted f32", name(noise.dtype()));
  TS_CHECK(noise.dim(1) <= std::numeric_limits<int32_t>::max(),
           "argsort_rows: a row of {} is too long for i32 positions", noise.dim(1));
  const Order order{Tensor(noise.shape(), DType::i32, noise.device()),
                    Tensor(noise.shape(), DType::i32, noise.device())};
  const ProfileScope scope("argsort_rows", bytes_of(order.shuffle, order.restore, noise));
  half_on(noise.device(), argsort_rows_cpu).forward(order.shuffle, order.restore, noise);
  return order;
}

}  // namespace tessera
