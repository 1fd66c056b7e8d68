// Resizing of position tables: every rule here is separable, so it is a matrix of weights per axis.
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/check.h"
#include "models/position.h"

namespace tessera {
namespace {

// Weights of one axis, [to, from] row-major.
struct Axis {
  int64_t from, to;
  std::vector<double> weight;

  Axis(int64_t from_size, int64_t to_size)
      : from(from_size), to(to_size), weight(static_cast<size_t>(from_size * to_size)) {}
  double& at(int64_t i, int64_t j) { return weight[static_cast<size_t>(i * from + j)]; }
  double at(int64_t i, int64_t j) const { return weight[static_cast<size_t>(i * from + j)]; }
};

// values [outer, from, inner] -> [outer, to, inner]
std::vector<double> resample(const std::vector<double>& values, int64_t outer, const Axis& axis,
                             int64_t inner) {
  std::vector<double> out(static_cast<size_t>(outer * axis.to * inner));
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < axis.to; ++i) {
      double* row = out.data() + (o * axis.to + i) * inner;
      for (int64_t j = 0; j < axis.from; ++j) {
        const double w = axis.at(i, j);
        if (w == 0) continue;
        const double* source = values.data() + (o * axis.from + j) * inner;
        for (int64_t k = 0; k < inner; ++k) row[k] += w * source[k];
      }
    }
  }
  return out;
}

// table [1, extra + slots, D]: the extra slots as they are, the others along frames, rows and columns.
Tensor resize(const Tensor& table, int64_t extra, const Axis& frames, const Axis& rows, const Axis& cols) {
  const int64_t d = table.dim(2);
  const Tensor out({1, extra + frames.to * rows.to * cols.to, d}, DType::f32);
  const float* in = table.data<float>();
  std::copy(in, in + extra * d, out.data<float>());
  std::vector<double> v(in + extra * d, in + table.numel());
  v = resample(v, frames.from * rows.from, cols, d);
  v = resample(v, frames.from, rows, cols.to * d);
  v = resample(v, 1, frames, rows.to * cols.to * d);
  std::transform(v.begin(), v.end(), out.data<float>() + extra * d,
                 [](double x) { return static_cast<float>(x); });
  return out;
}

// In f32, step by step as PyTorch 1.13 evaluates it: tables of another size then come out as the official
// ones within 1e-6.
double cubic(double distance) {
  constexpr float a = -0.75f;
  const auto t = static_cast<float>(std::fabs(distance));
  const float near = std::fma(std::fma(a + 2, t, -(a + 3)) * t, t, 1.0f);
  const float far = std::fma(std::fma(std::fma(a, t, -5 * a), t, 8 * a), t, -4 * a);
  return static_cast<double>(t <= 1 ? near : t < 2 ? far : 0.0f);
}
double triangle(double t) { return std::max(0.0, 1 - std::fabs(t)); }

// Half-pixel centres; what a kernel of the given reach asks for beyond an end is that end. The ratio of the
// sizes is rounded to f32, as it is in PyTorch 1.13: on a table of 55 rows that alone moves the last place by
// 1e-6.
Axis by_kernel(int64_t from, int64_t to, double (*kernel)(double), int64_t reach) {
  Axis axis(from, to);
  const auto step = static_cast<double>(static_cast<float>(from) / static_cast<float>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double x = step * (static_cast<double>(i) + 0.5) - 0.5;
    const auto x0 = static_cast<int64_t>(std::floor(x));
    for (int64_t j = x0 + 1 - reach; j <= x0 + reach; ++j) {
      axis.at(i, std::clamp<int64_t>(j, 0, from - 1)) += kernel(x - static_cast<double>(j));
    }
  }
  return axis;
}

// Solves a m = b for m in place of b: a [n, n], b [n, n], by elimination with row exchange.
void solve(Axis& a, Axis& b) {
  const int64_t n = a.from;
  for (int64_t c = 0; c < n; ++c) {
    int64_t pivot = c;
    for (int64_t r = c + 1; r < n; ++r) pivot = std::fabs(a.at(r, c)) > std::fabs(a.at(pivot, c)) ? r : pivot;
    for (int64_t k = 0; k < n; ++k) {
      std::swap(a.at(c, k), a.at(pivot, k));
      std::swap(b.at(c, k), b.at(pivot, k));
    }
    for (int64_t r = 0; r < n; ++r) {
      const double f = r == c ? 0 : a.at(r, c) / a.at(c, c);
      for (int64_t k = 0; k < n; ++k) {
        a.at(r, k) -= f * a.at(c, k);
        b.at(r, k) -= f * b.at(c, k);
      }
    }
  }
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t k = 0; k < n; ++k) b.at(r, k) /= a.at(r, r);
  }
}

// Second derivatives at x of the cubic spline through (x, y), as weights of y: first and last two pieces are
// one cubic each (not-a-knot), between them the first derivative is continuous.
Axis second_derivatives(const std::vector<double>& x) {
  const auto n = static_cast<int64_t>(x.size());
  const auto h = [&](int64_t i) { return x[static_cast<size_t>(i + 1)] - x[static_cast<size_t>(i)]; };
  Axis a(n, n), b(n, n);
  for (int64_t i = 1; i + 1 < n; ++i) {
    a.at(i, i - 1) = h(i - 1) / 6;
    a.at(i, i) = (h(i - 1) + h(i)) / 3;
    a.at(i, i + 1) = h(i) / 6;
    b.at(i, i - 1) = 1 / h(i - 1);
    b.at(i, i) = -1 / h(i - 1) - 1 / h(i);
    b.at(i, i + 1) = 1 / h(i);
  }
  for (const auto& [row, i] : {std::pair{int64_t{0}, int64_t{1}}, std::pair{n - 1, n - 2}}) {
    a.at(row, i - 1) = 1 / h(i - 1);
    a.at(row, i) = -1 / h(i - 1) - 1 / h(i);
    a.at(row, i + 1) = 1 / h(i);
  }
  solve(a, b);
  return b;
}

// The spline at `to`; beyond the ends, the value of the end.
Axis by_spline(const std::vector<double>& x, const std::vector<double>& to) {
  const auto n = static_cast<int64_t>(x.size());
  const Axis second = second_derivatives(x);
  Axis axis(n, static_cast<int64_t>(to.size()));
  for (int64_t i = 0; i < axis.to; ++i) {
    const double t = std::clamp(to[static_cast<size_t>(i)], x.front(), x.back());
    const auto above = std::upper_bound(x.begin() + 1, x.end() - 1, t);
    const auto j = static_cast<int64_t>(above - x.begin()) - 1;
    const double h = *above - *(above - 1), left = (*above - t) / h, right = 1 - left;
    axis.at(i, j) += left;
    axis.at(i, j + 1) += right;
    for (int64_t k = 0; k < n; ++k) {
      axis.at(i, k) += ((left * left * left - left) * second.at(j, k) +
                        (right * right * right - right) * second.at(j + 1, k)) *
                       h * h / 6;
    }
  }
  return axis;
}

// 1 + q + ... + q^(n-1)
double progression(double q, int64_t n) {
  double sum = 0, term = 1;
  for (int64_t i = 0; i < n; ++i, term *= q) sum += term;
  return sum;
}

// Places of the old entries: SimMIM's bisection, with its bounds and its stopping rule.
std::vector<double> geometric_places(int64_t from, int64_t to) {
  double low = 1.01, high = 1.5, q = 0;
  while (high - low > 1e-6) {
    q = (low + high) / 2;
    (progression(q, from / 2) > static_cast<double>(to / 2) ? high : low) = q;
  }
  std::vector<double> places;
  for (int64_t i = -(from / 2); i <= from / 2; ++i) {
    places.push_back(i < 0 ? -progression(q, -i) : progression(q, i));
  }
  return places;
}

void require_slots(const Tensor& table, int64_t extra, PositionGrid from) {
  const bool some = from.frames >= 1 && from.rows >= 1 && from.cols >= 1 && extra >= 0;
  if (some && table.rank() == 3 && table.dim(0) == 1 && table.dim(1) == extra + from.slots()) return;
  fail(ErrorKind::checkpoint, "position table is {}, wanted [1, {} + {}*{}*{}, D]", table.shape().str(),
       extra, from.frames, from.rows, from.cols);
}

}  // namespace

Tensor resize_positions(const Tensor& table, int64_t extra, int64_t r0, int64_t c0, int64_t rows,
                        int64_t cols) {
  require_slots(table, extra, {1, r0, c0});
  return resize(table, extra, by_kernel(1, 1, triangle, 1), by_kernel(r0, rows, cubic, 2),
                by_kernel(c0, cols, cubic, 2));
}

Tensor resize_positions_linear(const Tensor& table, int64_t extra, PositionGrid from, PositionGrid to) {
  require_slots(table, extra, from);
  return resize(table, extra, by_kernel(from.frames, to.frames, triangle, 1),
                by_kernel(from.rows, to.rows, triangle, 1), by_kernel(from.cols, to.cols, triangle, 1));
}

Tensor resize_relative_table(const Tensor& table, int64_t side) {
  const auto from = static_cast<int64_t>(
      table.rank() == 2 ? std::lround(std::sqrt(static_cast<double>(table.dim(0)))) : 0);
  if (from < 5 || from % 2 == 0 || table.dim(0) != from * from) {
    fail(ErrorKind::checkpoint, "relative position table is {}, wanted [s*s, H] with s odd and 5 or more",
         table.shape().str());
  }
  TS_CHECK(side >= 1 && side % 2 == 1, "relative position table: new side is {}, wanted an odd number", side);
  std::vector<double> to;
  for (int64_t i = -(side / 2); i <= side / 2; ++i) to.push_back(static_cast<double>(i));
  const Axis axis = by_spline(geometric_places(from, side), to);
  const Tensor heads = table.reshape({1, from * from, table.dim(1)});
  return resize(heads, 0, by_kernel(1, 1, triangle, 1), axis, axis).reshape({side * side, table.dim(1)});
}

}  // namespace tessera
