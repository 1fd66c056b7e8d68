// CPU half of sgd: slab ranges of one size in parallel.
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/sgd/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kElementsPerTask = 16384;

void update(const Tensor& master, const Tensor& grad, const Tensor& momentum_buffer,
            const Tensor& compute_copy, std::span<const Segment> segments, const Tensor& state,
            const SgdOptions& options) {
  float* ps = state.data<float>();
  if (ps[kSkip] != 0.0f) return;
  ps[kStep] += 1.0f;
  float *p = master.data<float>(), *u = momentum_buffer.data<float>();
  const float* g = grad.data<float>();
  bf16* copy = compute_copy.defined() ? compute_copy.data<bf16>() : nullptr;
  const f32x16 clip(ps[kClip]), momentum(static_cast<float>(options.momentum));
  parallel_for(master.numel(), kElementsPerTask, [&](int64_t begin, int64_t end) {
    for_segments_in(segments, begin, end, [&](const Segment& segment, int64_t b, int64_t e) {
      const f32x16 lr(ps[kLr] * segment.lr_scale);
      const f32x16 decay(static_cast<float>(segment.decay ? options.weight_decay : 0.0));
      for_lanes(e - b, [&](int64_t i, int n) {
        const f32x16 old = load(p + b + i, n);
        const f32x16 d = fma(load(g + b + i, n), clip, old * decay);
        const f32x16 next = fma(load(u + b + i, n), momentum, d);
        const f32x16 moved = old - lr * (options.nesterov ? fma(next, momentum, d) : next);
        store(u + b + i, next, n);
        store(p + b + i, moved, n);
        if (copy != nullptr) store(copy + b + i, moved, n);
      });
    });
  });
}

}  // namespace

const SgdKernels sgd_cpu{update};

}  // namespace tessera
