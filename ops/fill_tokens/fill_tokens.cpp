// fill_tokens: checks and gradients.
#include "ops/fill_tokens/fill_tokens.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/fill_tokens/kernels.h"

namespace tessera {

Var fill_tokens(const Var& visible, const Var& token, const Tensor& ids_restore, int prefix) {
  TS_CHECK(visible.rank() == 3 && ids_restore.rank() == 2 && visible.dim(0) == ids_restore.dim(0),
           "fill_tokens: visible is {}, ids_restore is {}; wanted [B, prefix + K, C] and [B, L]",
           visible.shape().str(), ids_restore.shape().str());
  const int64_t batch = visible.dim(0), c = visible.dim(2), length = ids_restore.dim(1),
                count = visible.dim(1) - prefix;
  TS_CHECK(prefix >= 0 && count >= 0 && count <= length,
           "fill_tokens: prefix {} leaves {} of {} visible tokens for {} places", prefix, count,
           visible.dim(1), length);
  TS_CHECK(token.numel() == c, "fill_tokens: visible ends in {}, token has {}", c, token.numel());
  TS_CHECK(is_float(visible.dtype()) && token.dtype() == DType::f32 && ids_restore.dtype() == DType::i32,
           "fill_tokens: visible is {} (f32 or bf16), token is {} (f32), ids_restore is {} (i32)",
           name(visible.dtype()), name(token.dtype()), name(ids_restore.dtype()));

  const FillTokensKernels& half = half_on(visible.device(), fill_tokens_cpu);
  const Tensor y({batch, prefix + length, c}, visible.dtype(), visible.device());
  {
    const ProfileScope scope("fill_tokens forward", bytes_of(y, visible.value(), ids_restore));
    half.forward(y, visible.value(), token.value(), ids_restore);
  }
  return Tape::record(
      "fill_tokens", {visible, token}, y, [&half, ids_restore, count](const Tensor& dy, Grads& dx) {
        bool accumulate = false;
        if (dx[0].wanted()) {
          const Tensor dvisible = dx[0].add_into(&accumulate);
          const ProfileScope scope("fill_tokens backward", (accumulate ? 3 : 2) * bytes_of(dvisible));
          half.visible_gradient(dvisible, accumulate, dy, ids_restore);
        }
        if (dx[1].wanted()) {
          const Tensor dtoken = dx[1].add_into(&accumulate);
          // Reads the rows of dy that the tokens filled: those beyond the `count` visible ones.
          const ProfileScope scope("fill_tokens token gradient",
                                   dy.bytes() / dy.dim(1) * (ids_restore.dim(1) - count));
          half.token_gradient(dtoken, accumulate, dy, ids_restore, count);
        }
      });
}

}  // namespace tessera
