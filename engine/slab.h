// What the optimiser ops share: a table of the parameters inside flat slabs, and the few numbers of a step
// that live beside the data, so that no device waits for the host to read a norm or a flag.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/tensor.h"

namespace tessera {

// One parameter's elements [begin, begin + count) of each slab. Segments are in ascending order and do not
// overlap; what lies between them (padding, fixed tables) is never written.
struct Segment {
  int64_t begin = 0;
  int64_t count = 0;
  bool decay = false;     // the options' weight decay applies (LARS: and its trust ratio)
  float lr_scale = 1.0f;  // multiplies the learning rate (layer-wise rates)
};

// The state tensor of an update, f32 [kUpdateStateSize]. The trainer writes kLr, grad_norm writes kClip and
// kSkip, the update itself counts kStep (exact below 2^24).
enum UpdateStateSlot : int64_t {
  kLr = 0,    // learning rate of this step
  kClip = 1,  // the gradient is multiplied by this as it is read
  kSkip = 2,  // not 0: the update changes nothing and is not counted
  kStep = 3,  // updates done so far
  kUpdateStateSize = 4,
};

// A state for a first step: lr 0, clip 1, skip 0, step 0.
Tensor make_update_state(Device device = Device::cpu());

// Throws an Error that names `op` unless every defined slab is f32 [n], a defined compute_copy is bf16 [n],
// the segments lie in order inside [0, n) and the state is as above.
void check_slabs(const char* op, std::span<const Tensor> slabs, const Tensor& compute_copy,
                 std::span<const Segment> segments, const Tensor& state);

// Sum of value(i)^2 for i in [0, n), value giving a double, in an order that depends on n alone. (Sixteen
// partial sums: the compiler turns the inner loop into vectors.)
template <class Value> double sum_of_squares(int64_t n, Value&& value) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) lanes[j] += value(i + j) * value(i + j);
  }
  double total = 0;
  for (; i < n; ++i) total += value(i) * value(i);
  for (double lane : lanes) total += lane;
  return total;
}
inline double sum_of_squares(const float* x, int64_t n) {
  return sum_of_squares(n, [x](int64_t i) { return static_cast<double>(x[i]); });
}

// Calls f(segment, begin, end) for the part of every segment inside elements [begin, end) of the slabs.
template <class F>
void for_segments_in(std::span<const Segment> segments, int64_t begin, int64_t end, F&& f) {
  size_t low = 0, high = segments.size();  // first segment that ends behind `begin`
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (segments[middle].begin + segments[middle].count <= begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (size_t i = low; i < segments.size() && segments[i].begin < end; ++i) {
    const int64_t b = segments[i].begin > begin ? segments[i].begin : begin;
    const int64_t segment_end = segments[i].begin + segments[i].count;
    const int64_t e = segment_end < end ? segment_end : end;
    if (b < e) f(segments[i], b, e);
  }
}

}  // namespace tessera
