// slice_tokens: checks and gradient.
#include "ops/slice_tokens/slice_tokens.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/slice_tokens/kernels.h"

namespace tessera {

Var slice_tokens(const Var& x, int64_t begin, int64_t end) {
  TS_CHECK(x.rank() == 3, "slice_tokens: x is {}, wanted [B, N, C]", x.shape().str());
  TS_CHECK(0 <= begin && begin < end && end <= x.dim(1),
           "slice_tokens: tokens {} to {} of {}; wanted 0 <= begin < end <= {}", begin, end, x.dim(1),
           x.dim(1));
  TS_CHECK(is_float(x.dtype()), "slice_tokens: x is {}; it must be f32 or bf16", name(x.dtype()));
  const SliceTokensKernels& half = half_on(x.device(), slice_tokens_cpu);
  const Tensor y({x.dim(0), end - begin, x.dim(2)}, x.dtype(), x.device());
  {
    const ProfileScope scope("slice_tokens forward", 2 * bytes_of(y));
    half.forward(y, x.value(), begin);
  }
  return Tape::record("slice_tokens", {x}, y, [&half, begin](const Tensor& dy, Grads& dx) {
    if (!dx[0].wanted()) return;
    bool accumulate = false;
    const Tensor out = dx[0].add_into(&accumulate);
    const ProfileScope scope("slice_tokens backward", bytes_of(out, dy) + (accumulate ? out.bytes() : 0));
    half.backward(out, accumulate, dy, begin);
  });
}

}  // namespace tessera
