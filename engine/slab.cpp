// The checks and the state tensor that all optimiser ops share.
#include "engine/slab.h"

#include "engine/check.h"

namespace tessera {

Tensor make_update_state(Device device) {
  Tensor state({kUpdateStateSize}, DType::f32, Device::cpu(), "optimizer");
  float* p = state.data<float>();
  p[kLr] = 0.0f;
  p[kClip] = 1.0f;
  p[kSkip] = 0.0f;
  p[kStep] = 0.0f;
  return state.to(device);
}

void check_slabs(const char* op, std::span<const Tensor> slabs, const Tensor& compute_copy,
                 std::span<const Segment> segments, const Tensor& state) {
  TS_CHECK(!slabs.empty() && slabs[0].defined() && slabs[0].rank() == 1, "{}: the first slab must be [n]",
           op);
  const int64_t n = slabs[0].numel();
  for (size_t i = 0; i < slabs.size(); ++i) {
    TS_CHECK(slabs[i].shape() == slabs[0].shape(), "{}: slab 0 is {}, slab {} is {}", op,
             slabs[0].shape().str(), i, slabs[i].shape().str());
    TS_CHECK(slabs[i].dtype() == DType::f32, "{}: slab {} is {}, wanted f32", op, i, name(slabs[i].dtype()));
  }
  if (compute_copy.defined()) {
    TS_CHECK(compute_copy.shape() == slabs[0].shape() && compute_copy.dtype() == DType::bf16,
             "{}: the compute copy is {} {}, wanted {} bf16", op, compute_copy.shape().str(),
             name(compute_copy.dtype()), slabs[0].shape().str());
  }
  int64_t at = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    TS_CHECK(s.begin >= at && s.count >= 0 && s.count <= n - s.begin,
             "{}: segment {} is [{}, {}+{}), wanted in order from {} and within the slab's {} elements", op,
             i, s.begin, s.begin, s.count, at, n);
    at = s.begin + s.count;
  }
  TS_CHECK(state.shape() == Shape({kUpdateStateSize}) && state.dtype() == DType::f32,
           "{}: the state is {} {}, wanted [{}] f32", op, state.shape().str(), name(state.dtype()),
           static_cast<int64_t>(kUpdateStateSize));
}

}  // namespace tessera
