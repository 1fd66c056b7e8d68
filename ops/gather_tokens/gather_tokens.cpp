// gather_tokens: checks and gradient.
#include "ops/gather_tokens/gather_tokens.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/gather_tokens/kernels.h"

namespace tessera {

Var gather_tokens(const Var& x, const Tensor& ids) {
  TS_CHECK(x.rank() == 3 && ids.rank() == 2,
           "gather_tokens: x is {}, ids are {}; wanted [B, N, C] and [B, K]", x.shape().str(),
           ids.shape().str());
  TS_CHECK(x.dim(0) == 1 || x.dim(0) == ids.dim(0), "gather_tokens: x has {} samples, ids have {}", x.dim(0),
           ids.dim(0));
  TS_CHECK(is_float(x.dtype()), "gather_tokens: x is {}; it must be f32 or bf16", name(x.dtype()));
  TS_CHECK(ids.dtype() == DType::i32, "gather_tokens: ids are {}; they must be i32", name(ids.dtype()));

  const GatherTokensKernels& half = half_on(x.device(), gather_tokens_cpu);
  const Tensor y({ids.dim(0), ids.dim(1), x.dim(2)}, x.dtype(), x.device());
  {
    const ProfileScope scope("gather_tokens forward", 2 * bytes_of(y));
    half.forward(y, x.value(), ids);
  }
  return Tape::record("gather_tokens", {x}, y, [&half, ids](const Tensor& dy, Grads& dx) {
    if (!dx[0].wanted()) return;
    bool accumulate = false;
    const Tensor out = dx[0].add_into(&accumulate);
    const ProfileScope scope("gather_tokens backward", bytes_of(out, dy) + (accumulate ? out.bytes() : 0));
    half.backward(out, accumulate, dy, ids);
  });
}

}  // namespace tessera
