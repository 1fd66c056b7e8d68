// CPU half of adamw: slab ranges of one size in parallel, every element once.
#include <cmath>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/adamw/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kElementsPerTask = 16384;

struct Slabs {
  float* p;
  const float* g;
  float *m, *v;
  bf16* copy;  // null: none
};

// Scalars of one segment, formed in double and rounded once, as PyTorch does.
struct Scalars {
  f32x16 clip, keep, beta1, one_minus_beta1, beta2, one_minus_beta2, inverse_root, eps, step;
};

template <bool kCopy> void update_range(const Slabs& s, const Scalars& k, int64_t begin, int64_t end) {
  for_lanes(end - begin, [&](int64_t i, int n) {
    const int64_t at = begin + i;
    const f32x16 g = load(s.g + at, n) * k.clip;
    const f32x16 m = fma(load(s.m + at, n), k.beta1, g * k.one_minus_beta1);
    const f32x16 v = fma(load(s.v + at, n), k.beta2, g * g * k.one_minus_beta2);
    const f32x16 p = load(s.p + at, n) * k.keep - k.step * (m / fma(sqrt(v), k.inverse_root, k.eps));
    store(s.m + at, m, n);
    store(s.v + at, v, n);
    store(s.p + at, p, n);
    if constexpr (kCopy) store(s.copy + at, p, n);
  });
}

void update(const Tensor& master, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
            const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
            const AdamWOptions& options) {
  float* ps = state.data<float>();
  if (ps[kSkip] != 0.0f) return;
  ps[kStep] += 1.0f;
  const double t = static_cast<double>(ps[kStep]), lr = static_cast<double>(ps[kLr]);
  const double correction1 = 1.0 - std::pow(options.beta1, t);
  const double correction2_root = std::sqrt(1.0 - std::pow(options.beta2, t));
  const auto f = [](double x) { return f32x16(static_cast<float>(x)); };
  const auto scalars = [&](const Segment& segment) {
    const double rate = lr * static_cast<double>(segment.lr_scale);
    return Scalars{f32x16(ps[kClip]),         f(segment.decay ? 1.0 - rate * options.weight_decay : 1.0),
                   f(options.beta1),          f(1.0 - options.beta1),
                   f(options.beta2),          f(1.0 - options.beta2),
                   f(1.0 / correction2_root), f(options.eps),
                   f(rate / correction1)};
  };
  const Slabs slabs{master.data<float>(), grad.data<float>(), exp_avg.data<float>(), exp_avg_sq.data<float>(),
                    compute_copy.defined() ? compute_copy.data<bf16>() : nullptr};
  parallel_for(master.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
    for_segments_in(segments, begin, end, [&](const Segment& segment, int64_t b, int64_t e) {
      if (slabs.copy != nullptr) {
        update_range<true>(slabs, scalars(segment), b, e);
      } else {
        update_range<false>(slabs, scalars(segment), b, e);
      }
    });
  });
}

}  // namespace

const AdamWKernels adamw_cpu{update};

}  // namespace tessera
