// recompute: keep a block's input, drop what the block saved, run it again in backward.
#pragma once

#include <functional>

#include "autograd/var.h"

namespace tessera {

// y = f(x). f may read parameters;
// it must compute the same numbers when called twice (randomness is addressed, so it does).
Var recompute(const Var& x, std::function<Var(const Var&)> f);

}  // namespace tessera
