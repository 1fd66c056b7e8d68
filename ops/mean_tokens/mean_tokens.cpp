// mean_tokens: checks and gradient.
#include "ops/mean_tokens/mean_tokens.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/mean_tokens/kernels.h"

namespace tessera {

Var mean_tokens(const Var& x, int64_t first) {
  TS_CHECK(x.rank() == 3, "mean_tokens: x is {}, wanted [B, N, C]", x.shape().str());
  TS_CHECK(first >= 0 && first < x.dim(1), "mean_tokens: first is {}, x has {} tokens", first, x.dim(1));
  TS_CHECK(is_float(x.dtype()), "mean_tokens: x is {}; it must be f32 or bf16", name(x.dtype()));
  const MeanTokensKernels& half = half_on(x.device(), mean_tokens_cpu);
  const Tensor y({x.dim(0), x.dim(2)}, x.dtype(), x.device());
  {
    const ProfileScope scope("mean_tokens forward", bytes_of(y, x.value()));
    half.forward(y, x.value(), first);
  }
  return Tape::record("mean_tokens", {x}, y, [&half, first](const Tensor& dy, Grads& dx) {
    if (!dx[0].wanted()) return;
    bool accumulate = false;
    const Tensor out = dx[0].add_into(&accumulate);
    const ProfileScope scope("mean_tokens backward", bytes_of(out, dy) + (accumulate ? out.bytes() : 0));
    half.backward(out, accumulate, dy, first);
  });
}

}  // namespace tessera
