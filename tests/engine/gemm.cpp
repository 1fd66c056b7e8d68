// The gemm door against loops in double: odd and large shapes, both dtypes; weights of 64 x 64 on are packed.
#include "engine/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "engine/copy.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/random.h"

namespace tessera {
namespace {

struct Size {
  int64_t m, n, k;
};

Tensor numbers(Shape shape, DType d, uint64_t seed) {
  const Tensor t(shape, DType::f32);
  const Philox random(seed, Purpose::test, 0, 0);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<float>()[i] = static_cast<float>(random.normal(static_cast<uint64_t>(i)));
  return t.to(d);
}

std::vector<float> as_floats(const Tensor& t) {
  const Tensor f = t.to(DType::f32);
  return {f.data<float>(), f.data<float>() + f.numel()};
}

// Error norm of rows of `got` over the norm of the double-precision rows `want(row)`; a few rows stand for
// all.
double row_error(const Tensor& got, const std::function<std::vector<double>(int64_t)>& want) {
  const int64_t rows = got.dim(0), columns = got.dim(1), step = std::max<int64_t>(1, rows / 7);
  const std::vector<float> g = as_floats(got);
  double error = 0, size = 0;
  for (int64_t r = 0; r < rows; r = r + step < rows || r == rows - 1 ? r + step : rows - 1) {
    const std::vector<double> w = want(r);
    for (int64_t j = 0; j < columns; ++j) {
      const double e = static_cast<double>(g[static_cast<size_t>(r * columns + j)]) -
                       w[static_cast<size_t>(j)];
      error += std::isfinite(e) ? e * e : 1e300;
      size += w[static_cast<size_t>(j)] * w[static_cast<size_t>(j)];
    }
  }
  return std::sqrt(error / size);
}

struct Problem {
  Tensor x, w, bias, dy;
  explicit Problem(Size s, DType d)
      : x(numbers({s.m, s.k}, d, 1)),
        w(numbers({s.n, s.k}, d, 2)),
        bias(numbers({s.n}, DType::f32, 3)),
        dy(numbers({s.m, s.n}, d, 4)) {}
};

double forward_error(const Tensor& y, const Problem& p, bool with_bias) {
  const std::vector<float> x = as_floats(p.x), w = as_floats(p.w), b = as_floats(p.bias);
  const auto n = static_cast<size_t>(p.w.dim(0)), k = static_cast<size_t>(p.w.dim(1));
  return row_error(y, [&](int64_t row) {
    const auto r = static_cast<size_t>(row);
    std::vector<double> out(n);
    for (size_t j = 0; j < n; ++j) {
      double sum = with_bias ? static_cast<double>(b[j]) : 0;
      for (size_t i = 0; i < k; ++i)
        sum += static_cast<double>(x[r * k + i]) * static_cast<double>(w[j * k + i]);
      out[j] = sum;
    }
    return out;
  });
}

double input_gradient_error(const Tensor& dx, const Problem& p) {
  const std::vector<float> dy = as_floats(p.dy), w = as_floats(p.w);
  const auto n = static_cast<size_t>(p.w.dim(0)), k = static_cast<size_t>(p.w.dim(1));
  return row_error(dx, [&](int64_t row) {
    const auto r = static_cast<size_t>(row);
    std::vector<double> out(k, 0.0);
    for (size_t j = 0; j < n; ++j) {
      for (size_t i = 0; i < k; ++i)
        out[i] += static_cast<double>(dy[r * n + j]) * static_cast<double>(w[j * k + i]);
    }
    return out;
  });
}

// `base` [N,K] is what dw held before; undefined: nothing.
double weight_gradient_error(const Tensor& dw, const Problem& p, const Tensor& base) {
  const std::vector<float> dy = as_floats(p.dy), x = as_floats(p.x);
  const std::vector<float> before = base.defined() ? as_floats(base) : std::vector<float>();
  const auto m = static_cast<size_t>(p.x.dim(0)), n = static_cast<size_t>(p.w.dim(0)),
             k = static_cast<size_t>(p.w.dim(1));
  return row_error(dw, [&](int64_t row) {
    const auto j = static_cast<size_t>(row);
    std::vector<double> out(k, 0.0);
    for (size_t i = 0; i < k && !before.empty(); ++i) out[i] = static_cast<double>(before[j * k + i]);
    for (size_t r = 0; r < m; ++r) {
      for (size_t i = 0; i < k; ++i)
        out[i] += static_cast<double>(dy[r * n + j]) * static_cast<double>(x[r * k + i]);
    }
    return out;
  });
}

double bias_gradient_error(const Tensor& db, const Problem& p, const Tensor& base) {
  const std::vector<float> dy = as_floats(p.dy);
  const auto n = static_cast<size_t>(p.dy.dim(1)), m = static_cast<size_t>(p.dy.dim(0));
  return row_error(db.reshape({1, p.dy.dim(1)}), [&](int64_t) {
    std::vector<double> out(n, 0.0);
    for (size_t j = 0; j < n; ++j) {
      if (base.defined()) out[j] = static_cast<double>(base.data<float>()[j]);
      for (size_t r = 0; r < m; ++r) out[j] += static_cast<double>(dy[r * n + j]);
    }
    return out;
  });
}

// Sums of k random products in f32 drift by about sqrt(k) roundings; a result in bf16 is rounded to 8 bits.
double limit(DType result, int64_t k) {
  return result == DType::bf16 ? 3e-3 : 3e-7 + 3e-8 * std::sqrt(static_cast<double>(k));
}

void check_size(Size s, DType d) {
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  CAPTURE(name(d));
  const memory::GuardScope guard;
  const Problem p(s, d);
  for (DType out : {DType::f32, d}) {
    const Tensor y({s.m, s.n}, out), dx({s.m, s.k}, out);
    gemm::forward(y, p.x, p.w, p.bias);
    CHECK(forward_error(y, p, true) <= limit(out, s.k));
    gemm::forward(y, p.x, p.w, Tensor());
    CHECK(forward_error(y, p, false) <= limit(out, s.k));
    gemm::input_gradient(dx, p.dy, p.w);
    CHECK(input_gradient_error(dx, p) <= limit(out, s.n));
  }
  const Tensor dw({s.n, s.k}, DType::f32), base = numbers({s.n, s.k}, DType::f32, 5);
  gemm::weight_gradient(dw, p.dy, p.x, false);
  CHECK(weight_gradient_error(dw, p, Tensor()) <= limit(DType::f32, s.m));
  copy(dw, base);
  gemm::weight_gradient(dw, p.dy, p.x, true);
  CHECK(weight_gradient_error(dw, p, base) <= limit(DType::f32, s.m));

  const Tensor db({s.n}, DType::f32), before = numbers({s.n}, DType::f32, 6);
  gemm::bias_gradient(db, p.dy, false);
  CHECK(bias_gradient_error(db, p, Tensor()) <= limit(DType::f32, s.m));
  copy(db, before);
  gemm::bias_gradient(db, p.dy, true);
  CHECK(bias_gradient_error(db, p, before) <= limit(DType::f32, s.m));
  CHECK(guard.violations().empty());
}

// Every result of the door, one after the other.
std::vector<Tensor> everything(const Problem& p, Size s, DType d) {
  const Tensor y({s.m, s.n}, d), dx({s.m, s.k}, d), dw({s.n, s.k}, DType::f32), db({s.n}, DType::f32);
  gemm::forward(y, p.x, p.w, p.bias);
  gemm::input_gradient(dx, p.dy, p.w);
  gemm::weight_gradient(dw, p.dy, p.x, false);
  gemm::weight_gradient(dw, p.dy, p.x, true);
  gemm::bias_gradient(db, p.dy, false);
  return {y, dx, dw, db};
}

void check_threads(Size s, DType d) {
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  CAPTURE(name(d));
  const int before = threads();
  const Problem p(s, d);
  set_threads(1);
  const std::vector<Tensor> one = everything(p, s, d);
  for (int n : {2, 4, 3}) {
    set_threads(n);
    const std::vector<Tensor> many = everything(p, s, d);
    for (size_t i = 0; i < one.size(); ++i) {
      CAPTURE(i);
      CHECK(std::memcmp(one[i].raw(), many[i].raw(), static_cast<size_t>(one[i].bytes())) == 0);
    }
  }
  set_threads(before);
}

constexpr Size kOdd[] = {{1, 1, 1},       {1, 5, 3},      {2, 1, 7},     {51, 17, 23},  {7, 64, 64},
                         {33, 65, 31},    {3, 1, 100},    {100, 3, 48},  {64, 63, 129}, {197, 10, 33},
                         {130, 192, 128}, {97, 100, 257}, {129, 65, 31}, {128, 3, 100}, {200, 63, 129},
                         {3, 65, 64},     {31, 64, 97},   {129, 130, 77}};
constexpr Size kLarge[] = {{400, 768, 768},  {400, 768, 3072}, {197 * 8, 512, 2048}, {1576, 1536, 512},
                           {3328, 512, 128}, {12544, 96, 384}, {12544, 16, 48},      {5000, 3, 7}};

}  // namespace

TEST_CASE("engine/gemm: odd shapes equal loops in double") {
  for (Size s : kOdd) {
    for (DType d : {DType::f32, DType::bf16}) check_size(s, d);
  }
}

TEST_CASE("engine/gemm: large shapes equal loops in double") {
  for (Size s : kLarge) {
    for (DType d : {DType::f32, DType::bf16}) check_size(s, d);
  }
}

TEST_CASE("engine/gemm: the bits do not depend on the number of threads") {
  for (Size s : kOdd) {
    for (DType d : {DType::f32, DType::bf16}) check_threads(s, d);
  }
  for (Size s : kLarge) {
    for (DType d : {DType::f32, DType::bf16}) check_threads(s, d);
  }
}

TEST_CASE("engine/gemm: weights are read as they are now, and no packed copy stays behind") {
  for (DType d : {DType::f32, DType::bf16}) {
    const Tensor w = numbers({70, 80}, d, 1), x = numbers({300, 80}, d, 2), dy = numbers({300, 70}, d, 3);
    const Tensor y({300, 70}, DType::f32), dx({300, 80}, DType::f32);
    const int64_t before = memory::usage().now;
    gemm::forward(y, x, w, Tensor());
    gemm::input_gradient(dx, dy, w);
    CHECK(memory::usage().now == before);
    fill(w, 0);
    gemm::forward(y, x, w, Tensor());
    gemm::input_gradient(dx, dy, w);
    CHECK(as_floats(y) == std::vector<float>(300 * 70, 0.0f));
    CHECK(as_floats(dx) == std::vector<float>(300 * 80, 0.0f));
  }
}

TEST_CASE("engine/gemm: NaN and infinity pass through") {
  const Tensor x = numbers({5, 20}, DType::f32, 1), w = numbers({7, 20}, DType::f32, 2),
               y({5, 7}, DType::f32);
  x.data<float>()[3] = NAN;
  x.data<float>()[2 * 20 + 1] = INFINITY;
  gemm::forward(y, x, w, Tensor());
  for (int j = 0; j < 7; ++j) {
    CHECK(std::isnan(y.data<float>()[j]));
    CHECK(std::isfinite(y.data<float>()[7 + j]));
    CHECK(std::isinf(y.data<float>()[14 + j]));
  }
}

TEST_CASE("engine/gemm: misuse is refused by name") {
  const Tensor x({4, 8}, DType::f32), w({6, 8}, DType::f32), y({4, 6}, DType::f32),
      narrow({6, 7}, DType::f32);
  const auto refused = [](const std::function<void()>& f, const std::string& word) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what()).find("gemm") == 0 && std::string(e.what()).find(word) != std::string::npos;
    }
    return false;
  };
  CHECK(refused([&] { gemm::forward(y, x, narrow, Tensor()); }, "[6, 7]"));
  CHECK(refused([&] { gemm::forward(y, Tensor({0, 8}, DType::f32), w, Tensor()); }, "[0, 8]"));
  CHECK(refused([&] { gemm::forward(y, Tensor(), w, Tensor()); }, "forward"));
  CHECK(refused([&] { gemm::forward(y, x, Tensor({6, 8}, DType::bf16), Tensor()); }, "bf16"));
  CHECK(refused([&] { gemm::forward(Tensor({4, 6}, DType::bf16), x, w, Tensor()); }, "bf16"));
  CHECK(refused([&] { gemm::forward(y, x, w, Tensor({5}, DType::f32)); }, "bias"));
  CHECK(refused([&] { gemm::input_gradient(x, y, narrow); }, "input_gradient"));
  CHECK(refused([&] { gemm::weight_gradient(narrow, y, x, false); }, "weight_gradient"));
  CHECK(refused([&] { gemm::weight_gradient(Tensor({6, 8}, DType::bf16), y, x, false); }, "weight_gradient"));
  CHECK(refused([&] { gemm::bias_gradient(Tensor({5}, DType::f32), y, false); }, "bias_gradient"));
}

TEST_CASE("engine/gemm: ViT-B runs on the library's fast kernels") {
  if (gemm::forward_implementation(64, 64, 64, DType::f32).find("avx512") == std::string::npos)
    return;  // another CPU
  constexpr Size shapes[] = {{400, 2304, 768},  {400, 768, 768},   {400, 3072, 768},  {400, 768, 3072},
                             {1600, 3072, 768}, {1600, 768, 3072}, {1576, 1536, 512}, {1576, 512, 512},
                             {1576, 2048, 512}, {1576, 512, 2048}, {400, 512, 768},   {1576, 768, 512}};
  for (Size s : shapes) {
    for (DType d : {DType::f32, DType::bf16}) {
      CHECK(gemm::forward_implementation(s.m, s.n, s.k, d).substr(0, 4) == "brg:");
      CHECK(gemm::forward_implementation(s.m, s.k, s.n, d).substr(0, 4) == "brg:");  // dx
    }
  }
}

}  // namespace tessera
