// Tensor: a handle to dense, row-major numbers. Copies of a Tensor share storage; nothing here computes.
#pragma once

#include <memory>

#include "engine/device.h"
#include "engine/dtype.h"
#include "engine/memory.h"
#include "engine/shape.h"

namespace tessera {

class Tensor {
 public:
  Tensor() = default;  // holds nothing; defined() is false
  // Not initialised. `label` is static text for the memory report; "" takes the current LabelScope's.
  Tensor(Shape shape, DType dtype, Device device = Device::cpu(), const char* label = "");

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t dim(int i) const { return shape_[i]; }
  int rank() const { return shape_.rank(); }
  int64_t numel() const { return shape_.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype_); }

  // Same numbers under another shape of equal numel. No copy. Throws if numel differs.
  Tensor reshape(Shape shape) const;
  // Rows [begin, end) of dimension 0. No copy. Throws if out of range or a scalar.
  Tensor slice(int64_t begin, int64_t end) const;

  // Pointer to the first element. Throws unless T is the dtype (and the device is the CPU).
  template <class T> T* data() const {
    require_readable(dtype_of<T>);
    return reinterpret_cast<T*>(raw());
  }
  void* raw() const { return defined() ? storage_->data() + offset_ : nullptr; }

  // Converted copy; the same handle when nothing changes.
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;
  Tensor clone(const char* label = "") const;

  // Value of a one-element f32/f64/i32/i64 tensor.
  double item() const;

  // True when no other handle shares the storage: writing is then unseen by anyone.
  bool unique() const { return storage_.use_count() == 1; }
  bool shares_storage(const Tensor& other) const { return defined() && storage_ == other.storage_; }

 private:
  void require_readable(DType wanted) const;

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // bytes
  Shape shape_;
  DType dtype_ = DType::f32;
  Device device_;
};

}  // namespace tessera
