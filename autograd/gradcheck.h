// gradcheck: numerical derivative of a function against the tape's,
// along every input element (or a sample of them).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace tessera {

struct GradCheck {
  double step =
      1e-2;  // central differences: (f(x+h) - f(x-h)) / 2h; f is f32, so h must stay well above its rounding
  double tolerance =
      2e-3;  // |numerical - tape| <= tolerance * max(1, largest numerical derivative of that input)
  int max_elements = 64;   // per input; beyond it, elements spread evenly
  std::vector<bool> skip;  // inputs without a gradient (indices, masks)
};

// Loss = sum(w * f(inputs)) with fixed pseudo-random w.
// Returns "" when all agree, else the worst disagreement in words.
std::string gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                      const GradCheck& options = {});

}  // namespace tessera
