// Checks and gradient of masked_mse.
#include "ops/masked_mse/masked_mse.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/masked_mse/kernels.h"

namespace tessera {

Var masked_mse(const Var& pred, const Tensor& target, const Tensor& mask, Tensor* row_error) {
  TS_CHECK(pred.rank() >= 1 && pred.numel() >= 1,
           "masked_mse: pred is {}, wanted [..., P] with at least one row", pred.shape().str());
  TS_CHECK(is_float(pred.dtype()), "masked_mse: pred is {}, wanted f32 or bf16", name(pred.dtype()));
  TS_CHECK(target.defined() && target.shape() == pred.shape(), "masked_mse: pred is {}, target is {}",
           pred.shape().str(), target.shape().str());
  TS_CHECK(target.dtype() == DType::f32, "masked_mse: target is {}, wanted f32", name(target.dtype()));
  const int64_t m = pred.numel() / pred.dim(-1);
  if (mask.defined()) {
    TS_CHECK(mask.numel() == m, "masked_mse: pred {} has {} rows, mask {} has {} values", pred.shape().str(),
             m, mask.shape().str(), mask.numel());
    TS_CHECK(mask.dtype() == DType::f32, "masked_mse: mask is {}, wanted f32", name(mask.dtype()));
  }

  Shape rows;
  for (int i = 0; i + 1 < pred.rank(); ++i) rows.push_back(pred.dim(i));
  const MaskedMseKernels& half = half_on(pred.device(), masked_mse_cpu);
  const Tensor loss({1}, DType::f32, pred.device()), mask_sum({1}, DType::f32, pred.device());
  const Tensor error(rows, DType::f32, pred.device());
  {
    const ProfileScope scope("masked_mse forward", bytes_of(pred.value(), target, mask, error));
    half.forward(loss, mask_sum, error, pred.value(), target, mask);
  }
  if (row_error != nullptr) *row_error = error;

  return Tape::record("masked_mse", {pred}, loss,
                      [&half, pred = pred.value(), target, mask, mask_sum](const Tensor& dy, Grads& dx) {
                        if (!dx[0].wanted()) return;
                        const Tensor d = dx[0].overwrite();
                        const ProfileScope scope("masked_mse backward", bytes_of(d, pred, target, mask));
                        half.backward(d, dy, mask_sum, pred, target, mask);
                      });
}

}  // namespace tessera
