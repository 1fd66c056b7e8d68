// CPU half of grad_norm: sums of squares of slab ranges in double, added in order.
#include <cmath>

#include "engine/parallel.h"
#include "engine/slab.h"
#include "ops/grad_norm/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kElementsPerTask = 65536;

void forward(const Tensor& norm, const Tensor& grad, double max_norm, const Tensor& state,
             std::span<const Tensor> losses) {
  const float* g = grad.data<float>();
  const double total = parallel_sum(grad.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
    return sum_of_squares(g + begin, end - begin);
  });
  // Squares of finite floats cannot overflow a double, so the sum is finite exactly if every element is.
  bool finite = std::isfinite(total);
  for (const Tensor& loss : losses) finite = finite && std::isfinite(*loss.data<float>());
  const double length = std::sqrt(total), factor = max_norm / (length + 1e-6);
  *norm.data<float>() = static_cast<float>(length);
  float* ps = state.data<float>();
  ps[kClip] = finite && max_norm > 0 && factor < 1.0 ? static_cast<float>(factor) : 1.0f;
  ps[kSkip] = finite ? 0.0f : 1.0f;
}

}  // namespace

const GradNormKernels grad_norm_cpu{forward};

}  // namespace tessera
