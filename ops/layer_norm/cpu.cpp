// CPU half of layer_norm. Rows are independent;
// the parameter gradient sums blocks of rows, then the blocks in order.
#include <cmath>
#include <vector>

#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/layer_norm/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kRowsPerTask = 16;
constexpr int64_t kRowsPerBlock = 64;  // of the parameter gradient's partial sums

template <class X, class Y>
void forward_row(Y* y, float* mean, float* rstd, const X* x, const float* gamma, const float* beta, int64_t c,
                 float eps) {
  f32x16 total;
  for_lanes(c, [&](int64_t i, int n) { total = total + load(x + i, n); });
  const float mu = sum(total) / static_cast<float>(c);
  f32x16 squares;  // second pass over a row that is in L1: exact where E[x^2] - mean^2 would cancel
  for_lanes(c, [&](int64_t i, int n) {
    const f32x16 d = keep_first(load(x + i, n) - f32x16(mu), n, f32x16(0.0f));
    squares = fma(d, d, squares);
  });
  const float r = 1.0f / std::sqrt(sum(squares) / static_cast<float>(c) + eps);
  for_lanes(c, [&](int64_t i, int n) {
    const f32x16 hat = (load(x + i, n) - f32x16(mu)) * f32x16(r);
    store(y + i, fma(hat, load(gamma + i, n), load(beta + i, n)), n);
  });
  *mean = mu;
  *rstd = r;
}

void forward(const Tensor& y, const Tensor& mean, const Tensor& rstd, const Tensor& x, const Tensor& gamma,
             const Tensor& beta, float eps) {
  const int64_t c = x.dim(-1), m = mean.numel();
  with_float_type(x.dtype(), "layer_norm", [&](auto xt) {
    with_float_type(y.dtype(), "layer_norm", [&](auto yt) {
      const auto* px = x.data<decltype(xt)>();
      auto* py = y.data<decltype(yt)>();
      const float *pg = gamma.data<float>(), *pb = beta.data<float>();
      float *pm = mean.data<float>(), *pr = rstd.data<float>();
      parallel_for(m, kRowsPerTask, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          forward_row(py + r * c, pm + r, pr + r, px + r * c, pg, pb, c, eps);
      });
    });
  });
}

// dx = rstd * (g - mean(g) - hat * mean(g * hat)), g = dy * gamma
template <class X, class Y>
void input_gradient_row(X* dx, bool accumulate, const Y* dy, const X* x, const float* gamma, float mu,
                        float r, int64_t c) {
  f32x16 sum_g, sum_gh;
  for_lanes(c, [&](int64_t i, int n) {  // lanes past the tail load as zero, so they add nothing
    const f32x16 g = load(dy + i, n) * load(gamma + i, n);
    sum_g = sum_g + g;
    sum_gh = fma(g, (load(x + i, n) - f32x16(mu)) * f32x16(r), sum_gh);
  });
  const f32x16 mean_g(sum(sum_g) / static_cast<float>(c)), mean_gh(sum(sum_gh) / static_cast<float>(c));
  for_lanes(c, [&](int64_t i, int n) {
    const f32x16 hat = (load(x + i, n) - f32x16(mu)) * f32x16(r);
    f32x16 d = (load(dy + i, n) * load(gamma + i, n) - mean_g - hat * mean_gh) * f32x16(r);
    if (accumulate) d = d + load(dx + i, n);
    store(dx + i, d, n);
  });
}

void input_gradient(const Tensor& dx, bool accumulate, const Tensor& dy, const Tensor& x, const Tensor& gamma,
                    const Tensor& mean, const Tensor& rstd) {
  const int64_t c = x.dim(-1), m = mean.numel();
  with_float_type(x.dtype(), "layer_norm", [&](auto xt) {
    with_float_type(dy.dtype(), "layer_norm", [&](auto yt) {
      auto* pd = dx.data<decltype(xt)>();
      const auto* px = x.data<decltype(xt)>();
      const auto* py = dy.data<decltype(yt)>();
      const float *pg = gamma.data<float>(), *pm = mean.data<float>(), *pr = rstd.data<float>();
      parallel_for(m, kRowsPerTask, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          input_gradient_row(pd + r * c, accumulate, py + r * c, px + r * c, pg, pm[r], pr[r], c);
        }
      });
    });
  });
}

void parameter_gradient(const Tensor& dgamma, const Tensor& dbeta, const Tensor& dy, const Tensor& x,
                        const Tensor& mean, const Tensor& rstd) {
  const int64_t c = x.dim(-1), m = mean.numel();
  const int64_t blocks = (m + kRowsPerBlock - 1) / kRowsPerBlock;
  const Tensor partial({blocks, 2, c}, DType::f32, Device::cpu(), "workspace");
  float* pp = partial.data<float>();
  with_float_type(x.dtype(), "layer_norm", [&](auto xt) {
    with_float_type(dy.dtype(), "layer_norm", [&](auto yt) {
      const auto* px = x.data<decltype(xt)>();
      const auto* py = dy.data<decltype(yt)>();
      const float *pm = mean.data<float>(), *pr = rstd.data<float>();
      parallel_for(blocks, 1, [&](int64_t b0, int64_t b1) {
        for (int64_t b = b0; b < b1; ++b) {
          float *g = pp + b * 2 * c, *o = g + c;
          const int64_t begin = b * kRowsPerBlock,
                        end = begin + kRowsPerBlock < m ? begin + kRowsPerBlock : m;
          for_lanes(c, [&](int64_t i, int n) {
            f32x16 sg, sb;
            for (int64_t r = begin; r < end; ++r) {
              const f32x16 d = load(py + r * c + i, n);
              sg = fma(d, (load(px + r * c + i, n) - f32x16(pm[r])) * f32x16(pr[r]), sg);
              sb = sb + d;
            }
            store(g + i, sg, n);
            store(o + i, sb, n);
          });
        }
      });
    });
  });
  float *pg = dgamma.data<float>(), *pb = dbeta.data<float>();
  for_lanes(c, [&](int64_t i, int n) {
    f32x16 sg, sb;
    for (int64_t b = 0; b < blocks; ++b) {
      sg = sg + load(pp + b * 2 * c + i, n);
      sb = sb + load(pp + b * 2 * c + c + i, n);
    }
    store(pg + i, sg, n);
    store(pb + i, sb, n);
  });
}

}  // namespace

const LayerNormKernels layer_norm_cpu{forward, input_gradient, parameter_gradient};

}  // namespace tessera
