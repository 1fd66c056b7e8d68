#include "engine/tensor.h"

#include "engine/check.h"
#include "engine/copy.h"

namespace tessera {
namespace {

int64_t checked_bytes(const Shape& shape, DType dtype) {
  int64_t bytes = size_of(dtype);
  for (int i = 0; i < shape.rank(); ++i) {
    if (__builtin_mul_overflow(bytes, shape[i], &bytes) || bytes > INT64_MAX / 8)
      fail(ErrorKind::memory, "tensor: {} {} has more bytes than 64 bits can count", shape.str(),
           name(dtype));
  }
  return bytes;
}

}  // namespace

Tensor::Tensor(Shape shape, DType dtype, Device device, const char* label)
    : shape_(shape), dtype_(dtype), device_(device) {
  if (!device.is_cpu()) half_on(device, 0);
  storage_ = std::make_shared<Storage>(checked_bytes(shape, dtype), label);
}

Tensor Tensor::reshape(Shape shape) const {
  TS_CHECK(shape.numel() == numel(), "tensor: reshape of {} to {}: {} and {} elements", shape_.str(),
           shape.str(), numel(), shape.numel());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  TS_CHECK(rank() >= 1, "tensor: slice of a scalar");
  TS_CHECK(0 <= begin && begin <= end && end <= dim(0), "tensor: slice [{}, {}) of {}", begin, end,
           shape_.str());
  Shape shape = {end - begin};
  int64_t row = size_of(dtype_);
  for (int i = 1; i < rank(); ++i) {
    shape.push_back(dim(i));
    row *= dim(i);
  }
  Tensor t = *this;
  t.shape_ = shape;
  t.offset_ += begin * row;
  return t;
}

void Tensor::require_readable(DType wanted) const {
  TS_CHECK(defined(), "tensor: data of a tensor that holds nothing");
  TS_CHECK(dtype_ == wanted, "tensor: data<{}> of a {} tensor {}", name(wanted), name(dtype_), shape_.str());
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  const Tensor t(shape_, dtype, device_);
  cast(t, *this);
  return t;
}

Tensor Tensor::to(Device device) const {
  TS_CHECK(device == device_, "tensor: no copy from {} to {} in this build", device_.str(), device.str());
  return *this;
}

Tensor Tensor::clone(const char* label) const {
  const Tensor t(shape_, dtype_, device_, label);
  copy(t, *this);
  return t;
}

double Tensor::item() const {
  TS_CHECK(numel() == 1, "tensor: item of {}", shape_.str());
  const Tensor t = to(DType::f64);
  return *t.data<double>();
}

}  // namespace tessera
