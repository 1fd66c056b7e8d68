#include "models/position.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/check.h"

namespace tessera {
namespace {

// [sin(position * w_q)..., cos(position * w_q)...], w_q = 10000^(-q/quarter).
void sincos_1d(float* out, double position, int64_t quarter) {
  for (int64_t q = 0; q < quarter; ++q) {
    const double angle = position * std::pow(10000.0, -static_cast<double>(q) / static_cast<double>(quarter));
    out[q] = static_cast<float>(std::sin(angle));
    out[quarter + q] = static_cast<float>(std::cos(angle));
  }
}

struct Taps {
  std::array<int64_t, 4> at;
  std::array<double, 4> weight;
};

double cubic(double t) {
  constexpr double a = -0.75;
  t = std::fabs(t);
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return 0;
}

std::vector<Taps> taps(int64_t from, int64_t to) {
  std::vector<Taps> all(static_cast<size_t>(to));
  for (int64_t i = 0; i < to; ++i) {
    const double x = (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) -
                     0.5;
    const double x0 = std::floor(x), f = x - x0;
    Taps& t = all[static_cast<size_t>(i)];
    for (int64_t k = 0; k < 4; ++k) {
      t.at[static_cast<size_t>(k)] = std::clamp<int64_t>(static_cast<int64_t>(x0) + k - 1, 0, from - 1);
      t.weight[static_cast<size_t>(k)] = cubic(static_cast<double>(k - 1) - f);
    }
  }
  return all;
}

}  // namespace

void sincos_2d(float* out, int64_t dim, int64_t rows, int64_t cols, int64_t class_slots) {
  if (dim % 4 != 0)
    fail(ErrorKind::config, "model: sine-cosine positions need a width divisible by 4, got {}", dim);
  std::fill(out, out + class_slots * dim, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      float* slot = out + (class_slots + r * cols + c) * dim;
      sincos_1d(slot, static_cast<double>(c), dim / 4);
      sincos_1d(slot + dim / 2, static_cast<double>(r), dim / 4);
    }
  }
}

Tensor resize_positions(const Tensor& table, int64_t extra, int64_t r0, int64_t c0, int64_t rows,
                        int64_t cols) {
  if (table.rank() != 3 || table.dim(0) != 1 || table.dim(1) != extra + r0 * c0) {
    fail(ErrorKind::checkpoint, "position table is {}, wanted [1, {} + {}*{}, D]", table.shape().str(), extra,
         r0, c0);
  }
  const int64_t d = table.dim(2);
  const Tensor out({1, extra + rows * cols, d}, DType::f32);
  const float* in = table.data<float>();
  float* to = out.data<float>();
  std::copy(in, in + extra * d, to);
  const std::vector<Taps> vertical = taps(r0, rows), horizontal = taps(c0, cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const Taps &v = vertical[static_cast<size_t>(r)], &h = horizontal[static_cast<size_t>(c)];
      for (int64_t j = 0; j < d; ++j) {
        double total = 0;
        for (size_t y = 0; y < 4; ++y) {
          double line = 0;
          for (size_t x = 0; x < 4; ++x) {
            line += h.weight[x] * static_cast<double>(in[(extra + v.at[y] * c0 + h.at[x]) * d + j]);
          }
          total += v.weight[y] * line;
        }
        to[(extra + r * cols + c) * d + j] = static_cast<float>(total);
      }
    }
  }
  return out;
}

}  // namespace tessera
