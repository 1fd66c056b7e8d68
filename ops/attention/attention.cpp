// Checks, allocation and gradient of attention; the work is in its halves.
#include "ops/attention/attention.h"

#include <cmath>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/attention/kernels.h"

namespace tessera {

Var attention(const Var& qkv, int heads, float scale) {
  TS_CHECK(is_float(qkv.dtype()), "attention: qkv is {}; must be f32 or bf16", name(qkv.dtype()));
  TS_CHECK(heads >= 1, "attention: {} heads; must be at least 1", heads);
  TS_CHECK(qkv.rank() == 3, "attention: qkv is {}, wanted [B, N, 3*H*D]", qkv.shape().str());
  TS_CHECK(qkv.dim(2) > 0 && qkv.dim(2) % (3 * int64_t{heads}) == 0,
           "attention: qkv ends in {}, which is not 3 * {} heads * a head width", qkv.dim(2), heads);
  TS_CHECK(std::isfinite(scale) && scale > 0, "attention: scale is {}; must be positive", scale);
  const int64_t b = qkv.dim(0), n = qkv.dim(1);

  const AttentionKernels& half = half_on(qkv.device(), attention_cpu);
  const Tensor y({b, n, qkv.dim(2) / 3}, qkv.dtype(), qkv.device());
  const Tensor lse = Tape::recording({qkv}) ? Tensor({b, heads, n}, DType::f32, qkv.device()) : Tensor();
  {
    const ProfileScope scope("attention forward", bytes_of(y, lse, qkv.value()), 4 * n * y.numel(),
                             qkv.dtype());
    half.forward(y, lse, qkv.value(), heads, scale);
  }

  return Tape::record("attention", {qkv}, y,
                      [&half, qkv = qkv.value(), y, lse, heads, scale](const Tensor& dy, Grads& dx) {
                        const Tensor d = dx[0].overwrite();
                        const ProfileScope scope("attention backward", bytes_of(d, dy, qkv, y, lse),
                                                 8 * y.dim(1) * y.numel(), qkv.dtype());
                        half.backward(d, dy, qkv, y, lse, heads, scale);
                      });
}

}  // namespace tessera
