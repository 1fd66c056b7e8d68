// concat_tokens: checks and gradient.
#include "ops/concat_tokens/concat_tokens.h"

#include <algorithm>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/concat_tokens/kernels.h"

namespace tessera {

Var concat_tokens(const Var& a, const Var& b) {
  TS_CHECK(a.rank() == 3 && b.rank() == 3 && a.dim(2) == b.dim(2),
           "concat_tokens: a is {}, b is {}; wanted [B, M, C] and [B, N, C]", a.shape().str(),
           b.shape().str());
  TS_CHECK(a.dim(0) == b.dim(0) || a.dim(0) == 1 || b.dim(0) == 1,
           "concat_tokens: a has {} samples, b has {}; wanted the same, or 1", a.dim(0), b.dim(0));
  TS_CHECK(is_float(a.dtype()) && is_float(b.dtype()),
           "concat_tokens: a is {}, b is {}; both must be f32 or bf16", name(a.dtype()), name(b.dtype()));

  const ConcatTokensKernels& half = half_on(a.device(), concat_tokens_cpu);
  const int64_t batch = a.dim(0) == 1 ? b.dim(0) : a.dim(0), first = a.dim(1);
  const DType out = a.dtype() == DType::bf16 && b.dtype() == DType::bf16 ? DType::bf16 : DType::f32;
  const Tensor y({batch, first + b.dim(1), a.dim(2)}, out, a.device());
  {
    const ProfileScope scope("concat_tokens forward", 2 * bytes_of(y));
    half.forward(y, a.value(), b.value());
  }
  return Tape::record("concat_tokens", {a, b}, y, [&half, first](const Tensor& dy, Grads& dx) {
    for (int input = 0; input < 2; ++input) {
      if (!dx[input].wanted()) continue;
      bool accumulate = false;
      const Tensor d = dx[input].add_into(&accumulate);
      const ProfileScope scope("concat_tokens backward", (accumulate ? 3 : 2) * bytes_of(d));
      half.gradient(d, accumulate, dy, input == 0 ? 0 : first);
    }
  });
}

}  // namespace tessera
