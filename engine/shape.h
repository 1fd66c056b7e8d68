// Shape: the sizes of a dense tensor, at most six, stored inline (no heap).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/require.h"

namespace tessera {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    TS_REQUIRE(sizes.size() <= kMaxRank, "shape: more than six dimensions");
    for (int64_t size : sizes) push_back(size);
  }

  int rank() const { return rank_; }
  // Size of dimension `i`; negative counts from the end, -1 being the last.
  int64_t operator[](int i) const {
    const int at = i < 0 ? i + rank_ : i;
    TS_REQUIRE(at >= 0 && at < rank_, "shape: dimension out of range");
    return sizes_[static_cast<size_t>(at)];
  }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[static_cast<size_t>(i)];
    return n;
  }
  void push_back(int64_t size) {
    TS_REQUIRE(rank_ < kMaxRank, "shape: more than six dimensions");
    TS_REQUIRE(size >= 0, "shape: negative size");
    sizes_[static_cast<size_t>(rank_++)] = size;
  }
  // The same sizes with the last one replaced.
  Shape with_last(int64_t size) const {
    TS_REQUIRE(rank_ > 0, "shape: a scalar has no last dimension");
    Shape s = *this;
    s.sizes_[static_cast<size_t>(rank_ - 1)] = size;
    return s;
  }
  bool operator==(const Shape& o) const { return rank_ == o.rank_ && sizes_ == o.sizes_; }
  bool operator!=(const Shape& o) const { return !(*this == o); }

  // "[2, 17, 96]"
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(sizes_[static_cast<size_t>(i)]);
    return s + "]";
  }

 private:
  std::array<int64_t, kMaxRank> sizes_{};  // unused entries stay 0, so == may compare all
  int rank_ = 0;
};

}  // namespace tessera
