#include "autograd/gradcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/random.h"

namespace tessera {
namespace {

// Weights of the scalar loss: +-(0.5 .. 1.5), so that no output cancels another by symmetry.
double weight(int64_t i) {
  const Philox random(7, Purpose::test, 0, 0);
  const double u = static_cast<double>(random.uniform(static_cast<uint64_t>(i)));
  return (u < 0.5 ? -1.0 : 1.0) * (0.5 + u);
}

double weighted_sum(const Tensor& y) {
  const Tensor t = y.to(DType::f64);
  const double* p = t.data<double>();
  double total = 0;
  for (int64_t i = 0; i < t.numel(); ++i) total += weight(i) * p[i];
  return total;
}

}  // namespace

std::string gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                      const GradCheck& options) {
  std::vector<Tensor> gradients;
  {
    Tape tape;
    std::vector<Var> vars;
    for (const Tensor& t : inputs) vars.push_back(is_float(t.dtype()) ? tape.watch(t) : Var(t));
    const Var y = f(vars);
    const Tensor w(y.shape(), y.dtype());
    TS_CHECK(y.dtype() == DType::f32, "gradcheck: the function returns {}, wanted f32", name(y.dtype()));
    for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = static_cast<float>(weight(i));
    tape.backward(std::vector<Var>{y}, {w});
    for (size_t i = 0; i < vars.size(); ++i)
      gradients.push_back(is_float(inputs[i].dtype()) ? tape.gradient_of(vars[i]) : Tensor());
  }
  const auto loss = [&] {
    const NoGrad nothing_records;
    std::vector<Var> vars;
    for (const Tensor& t : inputs) vars.emplace_back(t);
    return weighted_sum(f(vars).value());
  };
  std::string worst;
  double worst_excess = 0;
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].dtype() != DType::f32 || (k < options.skip.size() && options.skip[k])) continue;
    float* x = inputs[k].data<float>();
    const int64_t n = inputs[k].numel(), step = std::max<int64_t>(1, n / options.max_elements);
    std::vector<std::pair<int64_t, double>> numerical;
    double scale = 1;
    for (int64_t i = 0; i < n; i += step) {
      const float kept = x[i];
      x[i] = kept + static_cast<float>(options.step);
      const double up = loss(), x_up = static_cast<double>(x[i]);
      x[i] = kept - static_cast<float>(options.step);
      const double down = loss(), x_down = static_cast<double>(x[i]);
      x[i] = kept;
      numerical.emplace_back(i, (up - down) / (x_up - x_down));
      scale = std::max(scale, std::fabs(numerical.back().second));
    }
    for (const auto& [i, expected] : numerical) {
      const double got = gradients[k].defined() ? static_cast<double>(gradients[k].data<float>()[i]) : 0.0;
      const double excess = std::fabs(got - expected) / (options.tolerance * scale);
      if (!(excess <= 1) && !(excess <= worst_excess)) {
        worst_excess = excess;
        worst = fmt::format("input {} element {}: tape {}, numerical {}", k, i, got, expected);
      }
    }
  }
  return worst;
}

}  // namespace tessera
