// CPU half of cross_entropy: rows are independent; their losses are added in order in double.
#include <cmath>
#include <limits>

#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/cross_entropy/kernels.h"

namespace tessera {
namespace {

// Rows per task, from the size of a row alone: about 16k logits.
int64_t rows_per_task(int64_t k) { return k >= 16384 ? 1 : 16384 / k; }

template <class X> void row_stats(float* stats, const X* z, int64_t k) {
  const f32x16 lowest(-std::numeric_limits<float>::infinity());
  f32x16 largest = lowest;
  for_lanes(k, [&](int64_t i, int n) { largest = max(largest, keep_first(load(z + i, n), n, lowest)); });
  const f32x16 top(max(largest));
  f32x16 total;
  for_lanes(
      k, [&](int64_t i, int n) { total = total + keep_first(exp(load(z + i, n) - top), n, f32x16(0.0f)); });
  stats[0] = max(largest);
  stats[1] = std::log(sum(total));
}

// (1-s) * -log p[label] + s * mean(-log p)
template <class X>
float label_loss(const X* z, const float* stats, int32_t label, float smoothing, int64_t k) {
  const float at_label = stats[1] - (static_cast<float>(z[label]) - stats[0]);
  if (smoothing == 0.0f) return at_label;
  f32x16 total;
  for_lanes(k, [&](int64_t i, int n) {
    total = total + keep_first(load(z + i, n) - f32x16(stats[0]), n, f32x16(0.0f));
  });
  return (1.0f - smoothing) * at_label + smoothing * (stats[1] - sum(total) / static_cast<float>(k));
}

template <class X> float soft_loss(const X* z, const float* stats, const float* t, int64_t k) {
  f32x16 total;
  for_lanes(k, [&](int64_t i, int n) {  // lanes past the tail have t = 0
    total = fma(load(t + i, n), f32x16(stats[1]) - (load(z + i, n) - f32x16(stats[0])), total);
  });
  return sum(total);
}

void check_labels(const int32_t* labels, int64_t b, int64_t k) {
  for (int64_t r = 0; r < b; ++r) {
    TS_CHECK(labels[r] >= 0 && labels[r] < k, "cross_entropy: label {} of sample {} is outside [0, {})",
             labels[r], r, k);
  }
}

void forward(const Tensor& loss, const Tensor& stats, const Tensor& logits, const Tensor& target,
             float smoothing) {
  const int64_t b = logits.dim(0), k = logits.dim(1);
  const bool soft = target.dtype() == DType::f32;
  if (!soft) check_labels(target.data<int32_t>(), b, k);
  const Tensor losses({b}, DType::f32, Device::cpu(), "workspace");
  float *pl = losses.data<float>(), *ps = stats.data<float>();
  with_float_type(logits.dtype(), "cross_entropy", [&](auto xt) {
    const auto* pz = logits.data<decltype(xt)>();
    parallel_for(b, rows_per_task(k), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        row_stats(ps + r * 2, pz + r * k, k);
        pl[r] = soft ? soft_loss(pz + r * k, ps + r * 2, target.data<float>() + r * k, k)
                     : label_loss(pz + r * k, ps + r * 2, target.data<int32_t>()[r], smoothing, k);
      }
    });
  });
  double total = 0;
  for (int64_t r = 0; r < b; ++r) total += static_cast<double>(pl[r]);
  *loss.data<float>() = static_cast<float>(total / static_cast<double>(b));
}

template <class X>
void label_gradient(X* dz, const X* z, const float* stats, int32_t label, float smoothing, float scale,
                    int64_t k) {
  const f32x16 top(stats[0]), log_sum(stats[1]), floor(smoothing / static_cast<float>(k)), s(scale);
  for_lanes(k, [&](int64_t i, int n) {
    f32x16 t = floor;
    if (label >= i && label < i + n) {
      float lanes[kLanes];
      store(lanes, t);
      lanes[label - i] += 1.0f - smoothing;
      t = load(lanes);
    }
    store(dz + i, (exp(load(z + i, n) - top - log_sum) - t) * s, n);
  });
}

template <class X>
void soft_gradient(X* dz, const X* z, const float* stats, const float* t, float scale, int64_t k) {
  f32x16 total;
  for_lanes(k, [&](int64_t i, int n) { total = total + load(t + i, n); });
  const f32x16 top(stats[0]), log_sum(stats[1]), weight(sum(total)), s(scale);
  for_lanes(k, [&](int64_t i, int n) {
    store(dz + i, (exp(load(z + i, n) - top - log_sum) * weight - load(t + i, n)) * s, n);
  });
}

void backward(const Tensor& dlogits, const Tensor& dy, const Tensor& stats, const Tensor& logits,
              const Tensor& target, float smoothing) {
  const int64_t b = logits.dim(0), k = logits.dim(1);
  const float scale = *dy.data<float>() / static_cast<float>(b);
  const bool soft = target.dtype() == DType::f32;
  const float* ps = stats.data<float>();
  with_float_type(logits.dtype(), "cross_entropy", [&](auto xt) {
    const auto* pz = logits.data<decltype(xt)>();
    auto* pd = dlogits.data<decltype(xt)>();
    parallel_for(b, rows_per_task(k), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        if (soft) {
          soft_gradient(pd + r * k, pz + r * k, ps + r * 2, target.data<float>() + r * k, scale, k);
        } else {
          label_gradient(pd + r * k, pz + r * k, ps + r * 2, target.data<int32_t>()[r], smoothing, scale, k);
        }
      }
    });
  });
}

}  // namespace

const CrossEntropyKernels cross_entropy_cpu{forward, backward};

}  // namespace tessera
