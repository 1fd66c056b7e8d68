// The functions of engine/simd.h against the C library in double, over their whole range.
#include "engine/simd.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

namespace tessera {
namespace {

// Largest of |f(x) - want(x)| / unit(want(x)) over floats from begin to end, some hundred thousand of them.
template <class F, class Want, class Unit>
double worst(F f, Want want, Unit unit, float begin, float end, auto next) {
  double largest = 0;
  float x[kLanes], y[kLanes];
  for (float at = begin; at < end;) {
    for (float& e : x) {
      e = at;
      at = next(at);
    }
    store(y, f(load(x)));
    for (int i = 0; i < kLanes; ++i) {
      const double w = want(static_cast<double>(x[i])),
                   error = std::fabs(static_cast<double>(y[i]) - w) / unit(w);
      if (!(error <= largest)) largest = std::isnan(error) ? INFINITY : error;
    }
  }
  return largest;
}

float lane0(f32x16 v) {
  float y[kLanes];
  store(y, v);
  return y[0];
}

const auto relative = [](double w) { return std::fabs(w); };

}  // namespace

TEST_CASE("engine/simd: exp2 and exp are within about an ulp") {
  const auto next = [](float x) { return x + 1.0f / 1237.0f; };
  CHECK(worst([](f32x16 x) { return exp2(x); }, [](double x) { return std::exp2(x); }, relative, -126.0f,
              127.0f, next) < 1.1e-7);
  CHECK(worst([](f32x16 x) { return exp(x); }, [](double x) { return std::exp(x); }, relative, -87.0f, 88.0f,
              next) < 1.5e-7);
  const auto tiny = [](float x) { return std::nextafter(x, 1.0f); };  // just below 0, where 2^x leaves 1
  CHECK(worst([](f32x16 x) { return exp2(x); }, [](double x) { return std::exp2(x); }, relative, -1e-3f,
              -0.99e-3f, tiny) < 1.1e-7);
}

TEST_CASE("engine/simd: exp2 at the edges") {
  CHECK(lane0(exp2(f32x16(0.0f))) == 1.0f);
  CHECK(lane0(exp2(f32x16(-7.0f))) == 1.0f / 128);
  CHECK(lane0(exp2(f32x16(-1e30f))) == 0.0f);
  CHECK(lane0(exp2(f32x16(-INFINITY))) == 0.0f);
  CHECK(lane0(exp2(f32x16(128.0f))) == INFINITY);
  CHECK(lane0(exp2(f32x16(INFINITY))) == INFINITY);
  CHECK(std::isnan(lane0(exp2(f32x16(NAN)))));
}

TEST_CASE("engine/simd: log2 is within 2e-7 of max(1, |log2|)") {
  const auto next = [](float x) { return x * 1.00037f; };
  const auto unit = [](double w) { return std::fmax(1.0, std::fabs(w)); };
  CHECK(worst([](f32x16 x) { return log2(x); }, [](double x) { return std::log2(x); }, unit, 1.2e-38f, 3e38f,
              next) < 2e-7);
  CHECK(lane0(log2(f32x16(1024.0f))) == 10.0f);
  CHECK(lane0(log2(f32x16(1.0f))) == 0.0f);
  CHECK(lane0(log2(f32x16(0.0f))) == -INFINITY);
  CHECK(lane0(log2(f32x16(INFINITY))) == INFINITY);
  CHECK(std::isnan(lane0(log2(f32x16(-1.0f)))));
}

TEST_CASE("engine/simd: fraction and scale2") {
  CHECK(lane0(fraction(f32x16(-0.25f))) == 0.75f);
  CHECK(lane0(fraction(f32x16(-INFINITY))) == 0.0f);
  CHECK(lane0(scale2(f32x16(3.0f), f32x16(-1.5f))) == 0.75f);
}

}  // namespace tessera
