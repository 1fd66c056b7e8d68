// CPU half of batch_norm: blocks of rows summed in f32, the blocks added in order in double.
#include <cmath>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/batch_norm/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kRowsPerBlock = 64;

// Column means of two quantities at once. term(row, column, lanes, &a, &b) gives sixteen columns of one row.
template <class Term> void column_means(float* mean_a, float* mean_b, int64_t rows, int64_t d, Term&& term) {
  const int64_t blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock;
  const Tensor partial({blocks, 2, d}, DType::f32, Device::cpu(), "workspace");
  float* pp = partial.data<float>();
  parallel_for(blocks, 1, [&](int64_t b0, int64_t b1) {
    for (int64_t block = b0; block < b1; ++block) {
      float *out_a = pp + block * 2 * d, *out_b = out_a + d;
      const int64_t begin = block * kRowsPerBlock,
                    end = begin + kRowsPerBlock < rows ? begin + kRowsPerBlock : rows;
      for_lanes(d, [&](int64_t i, int n) {
        f32x16 sum_a, sum_b;
        for (int64_t r = begin; r < end; ++r) {
          f32x16 a, b;
          term(r, i, n, &a, &b);
          sum_a = sum_a + a;
          sum_b = sum_b + b;
        }
        store(out_a + i, sum_a, n);
        store(out_b + i, sum_b, n);
      });
    }
  });
  for (int64_t i = 0; i < d; ++i) {
    double a = 0, b = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      a += static_cast<double>(pp[block * 2 * d + i]);
      b += static_cast<double>(pp[(block * 2 + 1) * d + i]);
    }
    mean_a[i] = static_cast<float>(a / static_cast<double>(rows));
    mean_b[i] = static_cast<float>(b / static_cast<double>(rows));
  }
}

// Two passes, the second about the first one's mean; its own mean corrects that mean's rounding.
void statistics(const Tensor& mean, const Tensor& variance, const Tensor& x) {
  const int64_t rows = x.dim(0), d = x.dim(1);
  const Tensor shift({d}, DType::f32, Device::cpu(), "workspace");
  float *pm = mean.data<float>(), *pv = variance.data<float>(), *ps = shift.data<float>();
  with_float_type(x.dtype(), "batch_norm", [&](auto xt) {
    const auto* px = x.data<decltype(xt)>();
    column_means(pm, pv, rows, d,
                 [&](int64_t r, int64_t i, int n, f32x16* a, f32x16*) { *a = load(px + r * d + i, n); });
    column_means(ps, pv, rows, d, [&](int64_t r, int64_t i, int n, f32x16* a, f32x16* b) {
      *a = load(px + r * d + i, n) - load(pm + i, n);
      *b = *a * *a;
    });
  });
  for (int64_t i = 0; i < d; ++i) {
    const float v = pv[i] - ps[i] * ps[i];
    pm[i] += ps[i];
    pv[i] = v > 0.0f || std::isnan(v) ? v : 0.0f;
  }
}

void forward(const Tensor& y, const Tensor& rstd, const Tensor& x, const Tensor& mean, const Tensor& variance,
             float eps) {
  const int64_t rows = x.dim(0), d = x.dim(1);
  float* pr = rstd.data<float>();
  const float *pm = mean.data<float>(), *pv = variance.data<float>();
  for (int64_t i = 0; i < d; ++i) pr[i] = 1.0f / std::sqrt(pv[i] + eps);
  with_float_type(x.dtype(), "batch_norm", [&](auto xt) {
    const auto* px = x.data<decltype(xt)>();
    auto* py = y.data<decltype(xt)>();
    parallel_for(rows, kRowsPerBlock, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for_lanes(d, [&](int64_t i, int n) {
          store(py + r * d + i, (load(px + r * d + i, n) - load(pm + i, n)) * load(pr + i, n), n);
        });
      }
    });
  });
}

void move_running(const Tensor& running_mean, const Tensor& running_var, const Tensor& mean,
                  const Tensor& variance, int64_t batch, float momentum) {
  const float unbiased = static_cast<float>(static_cast<double>(batch) / static_cast<double>(batch - 1));
  float *rm = running_mean.data<float>(), *rv = running_var.data<float>();
  const float *pm = mean.data<float>(), *pv = variance.data<float>();
  for (int64_t i = 0; i < mean.numel(); ++i) {
    rm[i] = (1.0f - momentum) * rm[i] + momentum * pm[i];
    rv[i] = (1.0f - momentum) * rv[i] + momentum * (pv[i] * unbiased);
  }
}

void backward(const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd,
              bool training) {
  const int64_t rows = x.dim(0), d = x.dim(1);
  const Tensor means({2, d}, DType::f32, Device::cpu(), "workspace");
  float *mean_dy = means.data<float>(), *mean_dy_hat = mean_dy + d;
  const float *pm = mean.data<float>(), *pr = rstd.data<float>();
  with_float_type(x.dtype(), "batch_norm", [&](auto xt) {
    const auto* px = x.data<decltype(xt)>();
    const auto* py = dy.data<decltype(xt)>();
    auto* pd = dx.data<decltype(xt)>();
    const auto hat = [&](int64_t r, int64_t i, int n) {
      return (load(px + r * d + i, n) - load(pm + i, n)) * load(pr + i, n);
    };
    if (training) {
      column_means(mean_dy, mean_dy_hat, rows, d, [&](int64_t r, int64_t i, int n, f32x16* a, f32x16* b) {
        *a = load(py + r * d + i, n);
        *b = *a * hat(r, i, n);
      });
    }
    parallel_for(rows, kRowsPerBlock, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for_lanes(d, [&](int64_t i, int n) {
          f32x16 g = load(py + r * d + i, n);
          if (training) g = g - load(mean_dy + i, n) - hat(r, i, n) * load(mean_dy_hat + i, n);
          store(pd + r * d + i, g * load(pr + i, n), n);
        });
      }
    });
  });
}

}  // namespace

const BatchNormKernels batch_norm_cpu{statistics, forward, move_running, backward};

}  // namespace tessera
