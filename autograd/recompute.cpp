#include "autograd/recompute.h"

#include "autograd/tape.h"

namespace tessera {

Var recompute(const Var& x, std::function<Var(const Var&)> f) {
  Tape* tape = Tape::current();
  if (tape == nullptr) return f(x);
  Var y;
  {
    const NoGrad nothing_records;
    y = f(x.detach());
  }
  // A constant input still leads to parameters inside f,
  // so the node must be on the tape: watch gives it a slot.
  const Var input = Tape::recording({x}) ? x : tape->watch(x.value());
  return Tape::record("recompute", {input}, y.value(),
                      [x = x.value(), f = std::move(f)](const Tensor& dy, Grads& dx) {
                        Tape inner;
                        const Var again = inner.watch(x);
                        const Var y_again = [&] {
                          const memory::LabelScope label("activations");  // not "gradients", as around us
                          return f(again);
                        }();
                        inner.backward({y_again}, {dy});
                        const Tensor gradient = inner.gradient_of(again);
                        if (gradient.defined()) dx[0].give(gradient);
                      });
}

}  // namespace tessera
