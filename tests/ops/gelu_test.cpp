// ops/gelu beyond its cases: accuracy over the whole line, and what is not a number.
#include "ops/gelu/gelu.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/tape.h"
#include "engine/copy.h"

namespace tessera::test {
namespace {

double exact(double z) { return z * 0.5 * std::erfc(-z / std::sqrt(2.0)); }
double exact_slope(double z) {
  return 0.5 * std::erfc(-z / std::sqrt(2.0)) + z * std::exp(-z * z / 2) / std::sqrt(2 * std::acos(-1.0));
}

// gelu and its slope at every z.
struct Curve {
  Tensor y, slope;
  explicit Curve(const Tensor& z) {
    Tape tape;
    const Var x = tape.watch(z), out = gelu(x);
    y = out.value();
    const Tensor ones(z.shape(), DType::f32);
    fill(ones, 1.0);
    tape.backward({out}, {ones});
    slope = tape.gradient_of(x);
  }
};

}  // namespace

TEST_CASE("ops/gelu: within 1.5e-7 of the exact form, relative in the tails, over the whole line") {
  const int64_t n = 400001;
  const Tensor z({n}, DType::f32);
  for (int64_t i = 0; i < n; ++i) z.data<float>()[i] = static_cast<float>(i - n / 2) * 1e-4f;
  const Curve curve(z);
  double worst = 0, worst_slope = 0, worst_relative = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(z.data<float>()[i]), size = std::max(1.0, std::fabs(x));
    const double error = std::fabs(static_cast<double>(curve.y.data<float>()[i]) - exact(x));
    worst = std::max(worst, error / size);
    worst_slope = std::max(worst_slope,
                           std::fabs(static_cast<double>(curve.slope.data<float>()[i]) - exact_slope(x)));
    if (x > -8.0 && x != 0.0) worst_relative = std::max(worst_relative, error / std::fabs(exact(x)));
  }
  MESSAGE("largest errors: value " << worst << ", slope " << worst_slope
                                   << ", relative above -8: " << worst_relative);
  CHECK(worst < 1.5e-7);
  CHECK(worst_slope < 4e-7);
  CHECK(worst_relative < 4e-6);
}

TEST_CASE("ops/gelu: infinities, NaN and the far tails") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float values[] = {-inf, inf, nan, -1e30f, 1e30f, -40.0f, 0.0f, -0.0f};
  const Tensor z({8}, DType::f32);
  std::copy(values, values + 8, z.data<float>());
  const Curve curve(z);
  const float *y = curve.y.data<float>(), *d = curve.slope.data<float>();
  CHECK(y[0] == 0.0f);
  CHECK(y[1] == inf);
  CHECK(std::isnan(y[2]));
  CHECK(y[3] == 0.0f);
  CHECK(y[4] == 1e30f);
  CHECK(y[5] == 0.0f);
  CHECK(y[6] == 0.0f);
  CHECK(y[7] == 0.0f);
  CHECK(d[0] == 0.0f);
  CHECK(d[1] == 1.0f);
  CHECK(std::isnan(d[2]));
  CHECK(d[4] == 1.0f);
  CHECK(d[6] == doctest::Approx(0.5).epsilon(1e-6));
}

}  // namespace tessera::test
