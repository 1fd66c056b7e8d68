// recompute: keep a branch's input, drop what the branch saved, run it again in backward.
#pragma once

#include <functional>

#include "autograd/var.h"

namespace tessera {

// y = last(x, f(x)). Backward runs f again and then only records `last`, whose result nobody reads: a matrix
// product at the end of a branch is not made twice. f and last may read parameters; they must compute the
// same numbers when called twice (randomness is addressed, so they do).
Var recompute(const Var& x, std::function<Var(const Var& x)> f,
              std::function<Var(const Var& x, const Var& fx)> last);

}  // namespace tessera
