// Var: a Tensor that remembers how it was made.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

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
    v.again_ = nullptr;  // it would have the other shape
    return v;
  }
  // The same value as a constant.
  Var detach() const { return Var(value_); }

  // This Var, whose value need not be kept for backward: `again` makes it anew, to the same bits. For results
  // that cost less to make than to hold, by ops that keep their input anyway (layer_norm, gelu).
  Var remade_by(std::function<Tensor()> again) const {
    Var v = *this;
    if (slot_ >= 0) v.again_ = std::make_shared<const std::function<Tensor()>>(std::move(again));
    return v;
  }

 private:
  friend class Tape;
  friend class Saved;
  Tensor value_;
  int slot_ = -1;      // -1: a constant
  uint64_t tape_ = 0;  // serial number of the tape that knows slot_
  std::shared_ptr<const std::function<Tensor()>> again_;
};

// A value that a backward will need: kept, or made again where its op offers that.
class Saved {
 public:
  explicit Saved(const Var& v) : kept_(v.again_ ? Tensor() : v.value_), again_(v.again_) {}
  Tensor get() const { return again_ ? (*again_)() : kept_; }

 private:
  Tensor kept_;
  std::shared_ptr<const std::function<Tensor()>> again_;
};

}  // namespace tessera
