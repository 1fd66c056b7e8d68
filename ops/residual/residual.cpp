// residual: checks and gradient; the factors of stochastic depth.
#include "ops/residual/residual.h"

#include <cmath>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "engine/random.h"
#include "ops/residual/kernels.h"

namespace tessera {

Var residual(const Var& x, const Var& f, const Tensor& keep) {
  TS_CHECK(x.shape() == f.shape() && x.rank() >= 1, "residual: x is {}, f is {}; wanted [B, ...] twice",
           x.shape().str(), f.shape().str());
  TS_CHECK(is_float(x.dtype()) && is_float(f.dtype()), "residual: x is {}, f is {}; both must be f32 or bf16",
           name(x.dtype()), name(f.dtype()));
  TS_CHECK(!keep.defined() || (keep.dtype() == DType::f32 && keep.numel() == x.dim(0)),
           "residual: keep is {} {}, wanted [{}] f32", keep.shape().str(), name(keep.dtype()), x.dim(0));

  const ResidualKernels& half = half_on(x.device(), residual_cpu);
  const Tensor y(x.shape(), x.dtype(), x.device());
  if (!ResultsUnread::now()) {
    const ProfileScope scope("residual forward", bytes_of(y, x.value(), f.value()));
    half.forward(y, x.value(), f.value(), keep);
  }
  return Tape::record("residual", {x, f}, y, [&half, keep, branch = f.dtype()](const Tensor& dy, Grads& dx) {
    if (dx[0].wanted()) dx[0].give(dy);
    if (!dx[1].wanted()) return;
    if (!keep.defined() && branch == dy.dtype()) {
      dx[1].give(dy);
      return;
    }
    bool accumulate = false;
    const Tensor df = dx[1].add_into(&accumulate);
    const ProfileScope scope("residual backward", bytes_of(df, dy) + (accumulate ? df.bytes() : 0));
    half.branch_gradient(df, accumulate, dy, keep);
  });
}

namespace {

float keep_rate(double rate) {
  TS_CHECK(rate >= 0.0 && rate < 1.0, "residual: drop path rate is {}, wanted 0 <= rate < 1", rate);
  return static_cast<float>(1.0 - rate);
}

}  // namespace

Tensor drop_path_keep(uint64_t seed, int64_t step, int64_t first_sample, int64_t batch, int64_t element,
                      double rate) {
  const float kept = keep_rate(rate);
  if (rate == 0.0) return {};
  const Tensor keep({batch}, DType::f32);
  float* out = keep.data<float>();
  for (int64_t b = 0; b < batch; ++b) {
    const Philox random(seed, Purpose::drop_path, static_cast<uint64_t>(step),
                        static_cast<uint64_t>(first_sample + b));
    out[b] = std::floor(kept + random.uniform(static_cast<uint64_t>(element))) / kept;
  }
  return keep;
}

Tensor drop_path_keep(const Tensor& uniform_draws, double rate) {
  const float kept = keep_rate(rate);
  if (rate == 0.0) return {};
  const Tensor keep({uniform_draws.numel()}, DType::f32);
  const float* u = uniform_draws.data<float>();
  float* out = keep.data<float>();
  for (int64_t b = 0; b < keep.numel(); ++b) out[b] = std::floor(kept + u[b]) / kept;
  return keep;
}

}  // namespace tessera
