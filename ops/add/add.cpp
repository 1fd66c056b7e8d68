// add: checks and gradient.
#include "ops/add/add.h"

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/profile.h"
#include "ops/add/kernels.h"

namespace tessera {
namespace {

bool broadcasts(const Shape& x, const Shape& p) {
  if (x.rank() != p.rank() || x.rank() < 1 || p[0] != 1) return false;
  for (int i = 1; i < x.rank(); ++i) {
    if (x[i] != p[i]) return false;
  }
  return true;
}

}  // namespace

Var add(const Var& x, const Var& p) {
  TS_CHECK(x.shape() == p.shape() || broadcasts(x.shape(), p.shape()),
           "add: x is {}, p is {}; p must have x's shape, or 1 in front", x.shape().str(), p.shape().str());
  TS_CHECK(is_float(x.dtype()) && is_float(p.dtype()), "add: x is {}, p is {}; both must be f32 or bf16",
           name(x.dtype()), name(p.dtype()));
  const AddKernels& half = half_on(x.device(), add_cpu);
  const DType out = x.dtype() == DType::bf16 && p.dtype() == DType::bf16 ? DType::bf16 : DType::f32;
  const Tensor y(x.shape(), out, x.device());
  {
    const ProfileScope scope("add forward", bytes_of(y, x.value(), p.value()));
    half.forward(y, x.value(), p.value());
  }

  const bool give_x = x.dtype() == out, give_p = p.dtype() == out && x.shape() == p.shape();
  return Tape::record("add", {x, p}, y, [&half, give_x, give_p](const Tensor& dy, Grads& dx) {
    for (int input = 0; input < 2; ++input) {
      if (!dx[input].wanted()) continue;
      if (input == 0 ? give_x : give_p) {
        dx[input].give(dy);
        continue;
      }
      bool accumulate = false;
      const Tensor d = dx[input].add_into(&accumulate);
      const ProfileScope scope("add backward", bytes_of(d, dy) + (accumulate ? d.bytes() : 0));
      half.gradient(d, accumulate, dy);
    }
  });
}

}  // namespace tessera
