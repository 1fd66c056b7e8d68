#include "models/position.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace tessera {
namespace {

// [sin(position * w_q)..., cos(position * w_q)...], w_q = 10000^(-q/half).
void sincos_1d(float* out, double position, int64_t half) {
  for (int64_t q = 0; q < half; ++q) {
    const double angle = position * std::pow(10000.0, -static_cast<double>(q) / static_cast<double>(half));
    out[q] = static_cast<float>(std::sin(angle));
    out[half + q] = static_cast<float>(std::cos(angle));
  }
}

void sincos_of_place(float* out, int64_t dim, int64_t row, int64_t col) {
  sincos_1d(out, static_cast<double>(col), dim / 4);
  sincos_1d(out + dim / 2, static_cast<double>(row), dim / 4);
}

}  // namespace

void sincos_2d(float* out, int64_t dim, int64_t rows, int64_t cols, int64_t class_slots) {
  if (dim % 4 != 0)
    fail(ErrorKind::config, "model: sine-cosine positions need a width divisible by 4, got {}", dim);
  std::fill(out, out + class_slots * dim, 0.0f);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      sincos_of_place(out + (class_slots + r * cols + c) * dim, dim, r, c);
    }
  }
}

void sincos_3d(float* out, int64_t dim, int64_t frames, int64_t rows, int64_t cols, int64_t class_slots) {
  if (dim % 16 != 0)
    fail(ErrorKind::config, "model: space-time sine-cosine positions need a width divisible by 16, got {}",
         dim);
  const int64_t time = dim / 4;
  std::fill(out, out + class_slots * dim, 0.0f);
  for (int64_t t = 0; t < frames; ++t) {
    for (int64_t i = 0; i < rows * cols; ++i) {
      float* slot = out + (class_slots + t * rows * cols + i) * dim;
      sincos_1d(slot, static_cast<double>(t), time / 2);
      sincos_of_place(slot + time, dim - time, i / cols, i % cols);
    }
  }
}

}  // namespace tessera
