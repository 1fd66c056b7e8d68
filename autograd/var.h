// Var: a Tensor that remembers how it was made.
#pragma once

#include <cstdint>

#include "engine/tensor.h"

namespace tessera {

class Var {
 public:
  Var() = default;
  // A constant: no gradient flows to it.
  explicit Var(Tensor value) : value_(std::move(value)) {}

  // Always written out: a silent conversion to Tensor would drop a gradient.
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  DType dtype() const { return value_.dtype(); }
  Device device() const { return value_.device(); }
  int64_t dim(int i) const { return value_.dim(i); }
  int rank() const { return value_.rank(); }
  int64_t numel() const { return value_.numel(); }
  bool defined() const { return value_.defined(); }

  // Same numbers under another shape, the gradient likewise. No copy either way.
  Var reshape(Shape shape) const {
    Var v = *this;
    v.value_ = value_.reshape(shape);
    return v;
  }
  // The same value as a constant.
  Var detach() const { return Var(value_); }

 private:
  friend class Tape;
  Tensor value_;
  int slot_ = -1;      // -1: a constant
  uint64_t tape_ = 0;  // serial number of the tape that knows slot_
};

}  // namespace tessera
