// Checks and gradient of cross_entropy.
#include "ops/cross_entropy/cross_entropy.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/cross_entropy/kernels.h"

namespace tessera {

Var cross_entropy(const Var& logits, const Tensor& target, float smoothing) {
  TS_CHECK(logits.rank() == 2 && logits.numel() >= 1, "cross_entropy: logits are {}, wanted [B,K]",
           logits.shape().str());
  TS_CHECK(is_float(logits.dtype()), "cross_entropy: logits are {}, wanted f32 or bf16",
           name(logits.dtype()));
  TS_CHECK(target.defined(), "cross_entropy: no target");
  TS_CHECK(smoothing >= 0.0f && smoothing <= 1.0f, "cross_entropy: label smoothing is {}, wanted 0 to 1",
           smoothing);
  if (target.dtype() == DType::i32) {
    TS_CHECK(target.shape() == Shape({logits.dim(0)}),
             "cross_entropy: logits are {}, labels are {}, wanted [{}]", logits.shape().str(),
             target.shape().str(), logits.dim(0));
  } else {
    TS_CHECK(target.dtype() == DType::f32,
             "cross_entropy: target is {}, wanted i32 labels or f32 soft targets", name(target.dtype()));
    TS_CHECK(target.shape() == logits.shape(), "cross_entropy: logits are {}, soft targets are {}",
             logits.shape().str(), target.shape().str());
    TS_CHECK(smoothing == 0.0f,
             "cross_entropy: label smoothing {} is for labels; smooth soft targets beforehand", smoothing);
  }

  const CrossEntropyKernels& half = half_on(logits.device(), cross_entropy_cpu);
  const Tensor loss({1}, DType::f32, logits.device()), stats({logits.dim(0), 2}, DType::f32, logits.device());
  {
    const ProfileScope scope("cross_entropy forward", bytes_of(logits.value(), target));
    half.forward(loss, stats, logits.value(), target, smoothing);
  }
  return Tape::record(
      "cross_entropy", {logits}, loss,
      [&half, logits = logits.value(), target, stats, smoothing](const Tensor& dy, Grads& dx) {
        if (!dx[0].wanted()) return;
        const Tensor d = dx[0].overwrite();
        const ProfileScope scope("cross_entropy backward", bytes_of(d, logits, target));
        half.backward(d, dy, stats, logits, target, smoothing);
      });
}

}  // namespace tessera
