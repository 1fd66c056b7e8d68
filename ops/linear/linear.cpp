#include "ops/linear/linear.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/copy.h"
#include "engine/profile.h"
#include "ops/linear/kernels.h"

namespace tessera {
namespace {

// dw is f32 for a parameter; a w that is no parameter has its gradient in its own dtype.
void weight_gradient(const LinearKernels& half, Grad& grad, const Tensor& dy, const Tensor& x) {
  bool accumulate = false;
  const Tensor dw = grad.add_into(&accumulate);
  const ProfileScope scope("linear weight gradient", bytes_of(dw, dy, x) + (accumulate ? dw.bytes() : 0),
                           2 * dw.numel() * dy.dim(0), x.dtype());
  if (dw.dtype() == DType::f32) {
    half.weight_gradient(dw, dy, x, accumulate);
    return;
  }
  const Tensor exact(dw.shape(), DType::f32, dw.device(), "workspace");
  half.weight_gradient(exact, dy, x, false);
  accumulate ? tessera::accumulate(dw, exact) : cast(dw, exact);
}

}  // namespace

Var linear(const Var& x, const Var& w, const Var& bias, DType out) {
  TS_CHECK(w.rank() == 2 && w.numel() > 0, "linear: w is {}, wanted [N, K]", w.shape().str());
  const int64_t n = w.dim(0), k = w.dim(1);
  TS_CHECK(x.rank() >= 1 && x.dim(-1) == k, "linear: x is {}, w is {}; x must end in {}", x.shape().str(),
           w.shape().str(), k);
  TS_CHECK(x.numel() > 0, "linear: x is {}, there is nothing to compute", x.shape().str());
  TS_CHECK(x.dtype() == w.dtype() && is_float(x.dtype()),
           "linear: x is {}, w is {}; both must be f32 or both bf16", name(x.dtype()), name(w.dtype()));
  TS_CHECK(out == x.dtype() || out == DType::f32, "linear: y is to be {}, x is {}; wanted the same or f32",
           name(out), name(x.dtype()));
  TS_CHECK(!bias.defined() || (bias.numel() == n && bias.dtype() == DType::f32),
           "linear: bias is {} {}, w is {}; wanted [{}] f32", bias.shape().str(), name(bias.dtype()),
           w.shape().str(), n);

  const LinearKernels& half = half_on(x.device(), linear_cpu);
  const int64_t m = x.numel() / k;
  const Tensor y(x.shape().with_last(n), out, x.device());
  if (!ResultsUnread::now()) {
    const ProfileScope scope("linear forward", bytes_of(y, x.value(), w.value()), 2 * m * n * k, x.dtype());
    half.forward(y.reshape({m, n}), x.value().reshape({m, k}), w.value(), bias.value());
  }

  return Tape::record(
      "linear", {x, w, bias}, y,
      [&half, x = Saved(x), dtype = x.dtype(), w = w.value(), m, n, k](const Tensor& dy, Grads& dx) {
        const Tensor rows = dy.reshape({m, n});
        if (dx[2].wanted()) {
          bool accumulate = false;
          const Tensor db = dx[2].add_into(&accumulate);
          const ProfileScope scope("linear bias gradient", bytes_of(db, rows), rows.numel());
          half.bias_gradient(db, rows, accumulate);
        }
        const Tensor operand = rows.to(dtype);
        if (dx[1].wanted()) weight_gradient(half, dx[1], operand, x.get().reshape({m, k}));
        if (!dx[0].wanted()) return;
        const Tensor d = dx[0].overwrite();
        const ProfileScope scope("linear input gradient", bytes_of(d, operand, w), 2 * m * n * k, dtype);
        half.input_gradient(d.reshape({m, k}), operand, w);
      });
}

Var linear(const Var& x, const Var& w, const Var& bias) { return linear(x, w, bias, x.dtype()); }

}  // namespace tessera
