// Audit: a look at every value and gradient that ops make, for the first that is not finite; and the place
// where faults are put into them on purpose (engine/fault.h). Off, it costs an op two loads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/fault.h"
#include "engine/tensor.h"

namespace tessera {

struct Param;

namespace audit {

// The first value that is not finite.
struct Finding {
  std::string op;         // "attention"
  bool backward = false;  // the value is a gradient
  std::string value;      // "output 0", "gradient of input 0", "gradient of blocks.0.mlp.fc1.weight"
  std::string layer;      // of the parameter that was read last: "blocks.0.attn.qkv"; "" when there was none
  Shape shape;
  double number = 0;  // the first of its elements that is NaN or infinite
  std::vector<int64_t>
      rows;  // of dimension 0 that hold such elements, in order; none for a parameter's gradient
};

// While alive, every value made on this thread is looked at as soon as it is made. Not nestable.
class Watch {
 public:
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  const std::optional<Finding>& first() const { return first_; }

 private:
  friend struct Access;
  std::optional<Finding> first_;
  const Param* layer_ = nullptr;  // read last
};

namespace detail {
inline thread_local Watch* watch = nullptr;
void output(const char* op, const char* point, const Tensor& value, int index);
}  // namespace detail

// True when values are looked at or may be spoilt: only then need anybody call what follows.
inline bool on() { return detail::watch != nullptr || fault::detail::armed.load(std::memory_order_relaxed); }

// This thread begins step `number` (from 1): faults addressed to it come once each, in the first op that they
// name. Beginning it again brings them again.
void begin_step(int64_t number);

// `op` has made `value`, its output number `index`. Fault point op.<op>, or `point` where that is given.
inline void output(const char* op, const Tensor& value, int index = 0, const char* point = nullptr) {
  if (on()) detail::output(op, point, value, index);
}

// Of Tape alone. A parameter is read; what was read last, as seen by a Watch; `op` has given `gradient` to
// its input `index`, or to `param` (fault point gradient.<op> if `spoil`).
void reads(const Param& param);
const Param* last_read();
void gradient(const char* op, const Param* layer, int index, const Param* param, const Tensor& gradient,
              bool spoil);

// First element that is NaN or infinite; -1 when there is none or `t` holds no floats.
int64_t first_non_finite(const Tensor& t);

}  // namespace audit
}  // namespace tessera
