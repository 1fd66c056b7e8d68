// gelu: checks and gradient.
#include "ops/gelu/gelu.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/gelu/kernels.h"

namespace tessera {
namespace {

Tensor value(const GeluKernels& half, const Tensor& x) {
  const Tensor y(x.shape(), x.dtype(), x.device(), "activations");
  const ProfileScope scope("gelu forward", bytes_of(y, x));
  half.forward(y, x);
  return y;
}

}  // namespace

Var gelu(const Var& x) {
  TS_CHECK(x.defined() && is_float(x.dtype()), "gelu: x is {}; it must be f32 or bf16",
           x.defined() ? name(x.dtype()) : "undefined");
  const GeluKernels& half = half_on(x.device(), gelu_cpu);
  const Var y = Tape::record(
      "gelu", {x}, value(half, x.value()), [&half, x = x.value()](const Tensor& dy, Grads& dx) {
        if (!dx[0].wanted()) return;
        bool accumulate = false;
        const Tensor out = dx[0].add_into(&accumulate);
        const ProfileScope scope("gelu backward", bytes_of(out, dy, x) + (accumulate ? out.bytes() : 0));
        half.backward(out, accumulate, dy, x);
      });
  return y.remade_by([&half, x = x.value()] { return value(half, x); });
}

}  // namespace tessera
