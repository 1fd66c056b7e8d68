// CPU half of lars: segment after segment; inside one, ranges of one size in parallel, norms added in order.
#include <cmath>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/lars/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kElementsPerTask = 16384;

// trust * |p| / |g + decay p|, or 1 where a norm is 0. |g + decay p|^2 is summed as it stands, not expanded:
// no cancellation.
double trust_ratio(const float* p, const float* g, int64_t n, double clip, const LarsOptions& options) {
  const double p2 = parallel_sum(n, kElementsPerTask,
                                 [&](int64_t b, int64_t e) { return sum_of_squares(p + b, e - b); });
  const double g2 = parallel_sum(n, kElementsPerTask, [&](int64_t b, int64_t e) {
    return sum_of_squares(e - b, [=, &options](int64_t i) {
      return clip * static_cast<double>(g[b + i]) + options.weight_decay * static_cast<double>(p[b + i]);
    });
  });
  return p2 > 0 && g2 > 0 ? options.trust * std::sqrt(p2) / std::sqrt(g2) : 1.0;
}

void update(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer,
            const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
            const LarsOptions& options) {
  float* ps = state.data<float>();
  if (ps[kSkip] != 0.0f) return;
  ps[kStep] += 1.0f;
  const double clip = static_cast<double>(ps[kClip]);
  for (const Segment& segment : segments) {
    float* p = master.data<float>() + segment.begin;
    const float* g = grad.data<float>() + segment.begin;
    float* u = momentum_buffer.data<float>() + segment.begin;
    bf16* copy = compute_copy.defined() ? compute_copy.data<bf16>() + segment.begin : nullptr;
    const double ratio = segment.decay ? trust_ratio(p, g, segment.count, clip, options) : 1.0;
    const f32x16 from_g(static_cast<float>(ratio * clip));
    const f32x16 from_p(static_cast<float>(segment.decay ? ratio * options.weight_decay : 0.0));
    const f32x16 momentum(static_cast<float>(options.momentum)), lr(ps[kLr] * segment.lr_scale);
    parallel_for(segment.count, kElementsPerTask, [&](int64_t b, int64_t e) {
      for_lanes(e - b, [&](int64_t i, int n) {
        const f32x16 old = load(p + b + i, n);
        const f32x16 d = fma(load(g + b + i, n), from_g, old * from_p);
        const f32x16 next = fma(load(u + b + i, n), momentum, d);
        const f32x16 moved = old - lr * next;
        store(u + b + i, next, n);
        store(p + b + i, moved, n);
        if (copy != nullptr) store(copy + b + i, moved, n);
      });
    });
  }
}

}  // namespace

const LarsKernels lars_cpu{update};

}  // namespace tessera
