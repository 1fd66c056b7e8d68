// CPU half of normalize_images: one table look-up per byte, channels pulled apart on the way.
#include "engine/parallel.h"
#include "ops/normalize_images/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kPixelsPerTask = 4096;

// Pixels [begin, end) of one picture, whose planes lie `plane` apart. C is a constant where it is common:
// strides are then too.
template <int C>
void planes(float* y, const uint8_t* x, const float* table, int64_t begin, int64_t end, int64_t plane,
            int64_t channels) {
  const int64_t c_count = C > 0 ? C : channels;
  for (int64_t c = 0; c < c_count; ++c) {
    const float* t = table + c * 256;
    float* out = y + c * plane;
    for (int64_t i = begin; i < end; ++i) out[i] = t[x[i * c_count + c]];
  }
}

void forward(const Tensor& y, const Tensor& images, const Tensor& table) {
  const int64_t c = images.dim(3), plane = images.dim(1) * images.dim(2);
  const int64_t tasks_per_image = (plane + kPixelsPerTask - 1) / kPixelsPerTask;
  const uint8_t* px = images.data<uint8_t>();
  const float* pt = table.data<float>();
  float* py = y.data<float>();
  parallel_for(images.dim(0) * tasks_per_image, 1, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; ++t) {
      const int64_t b = t / tasks_per_image, begin = t % tasks_per_image * kPixelsPerTask;
      const int64_t end = begin + kPixelsPerTask < plane ? begin + kPixelsPerTask : plane;
      float* out = py + b * c * plane;
      const uint8_t* in = px + b * c * plane;
      if (c == 3) {
        planes<3>(out, in, pt, begin, end, plane, c);
      } else {
        planes<0>(out, in, pt, begin, end, plane, c);
      }
    }
  });
}

}  // namespace

const NormalizeImagesKernels normalize_images_cpu{forward};

}  // namespace tessera
