#include "engine/copy.h"

#include <algorithm>
#include <cstring>

#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/profile.h"
#include "engine/simd.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 64 << 10;  // elements

template <class F> void with_type(DType d, F&& f) {
  switch (d) {
    case DType::f32: return f(float{});
    case DType::bf16: return f(bf16{});
    case DType::i32: return f(int32_t{});
    case DType::u8: return f(uint8_t{});
    case DType::f16: return f(f16{});
    case DType::f64: return f(double{});
    case DType::i64: return f(int64_t{});
    case DType::boolean: return f(bool{});
  }
}

template <class To, class From> To convert(From x) {
  constexpr bool half_from = std::is_same_v<From, bf16> || std::is_same_v<From, f16>;
  constexpr bool half_to = std::is_same_v<To, bf16> || std::is_same_v<To, f16>;
  if constexpr (std::is_same_v<To, From>)
    return x;
  else if constexpr (half_from)
    return convert<To>(static_cast<float>(x));
  else if constexpr (half_to)
    return To(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

void require_same_shape(const char* who, const Tensor& dst, const Tensor& src) {
  TS_CHECK(dst.shape() == src.shape(), "{}: from {} to {}", who, src.shape().str(), dst.shape().str());
}

}  // namespace

void copy(const Tensor& dst, const Tensor& src) {
  require_same_shape("copy", dst, src);
  TS_CHECK(dst.dtype() == src.dtype(), "copy: from {} to {}", name(src.dtype()), name(dst.dtype()));
  const ProfileScope scope("copy", bytes_of(dst, src));
  auto* to = static_cast<std::byte*>(dst.raw());
  const auto* from = static_cast<const std::byte*>(src.raw());
  parallel_for(dst.bytes(), 4 * kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

void fill(const Tensor& dst, double value) {
  const ProfileScope scope("fill", bytes_of(dst));
  with_type(dst.dtype(), [&](auto t) {
    using T = decltype(t);
    T* p = dst.data<T>();
    const T v = convert<T>(value);
    parallel_for(dst.numel(), kGrain, [&](int64_t begin, int64_t end) { std::fill(p + begin, p + end, v); });
  });
}

void cast(const Tensor& dst, const Tensor& src) {
  require_same_shape("cast", dst, src);
  const ProfileScope scope("cast", bytes_of(dst, src));
  with_type(dst.dtype(), [&](auto to) {
    with_type(src.dtype(), [&](auto from) {
      auto* d = dst.data<decltype(to)>();
      const auto* s = src.data<decltype(from)>();
      parallel_for(dst.numel(), kGrain, [&](int64_t begin, int64_t end) {
        if constexpr (std::is_same_v<decltype(to), bf16> && std::is_same_v<decltype(from), float>) {
          for_lanes(end - begin, [&](int64_t i, int n) { store(d + begin + i, load(s + begin + i, n), n); });
        } else {
          for (int64_t i = begin; i < end; ++i) d[i] = convert<decltype(to)>(s[i]);
        }
      });
    });
  });
}

void accumulate(const Tensor& dst, const Tensor& src) {
  require_same_shape("accumulate", dst, src);
  const ProfileScope scope("accumulate", bytes_of(dst, dst, src));
  with_float_type(dst.dtype(), "accumulate", [&](auto to) {
    with_float_type(src.dtype(), "accumulate", [&](auto from) {
      auto* d = dst.data<decltype(to)>();
      const auto* s = src.data<decltype(from)>();
      parallel_for(dst.numel(), kGrain, [&](int64_t begin, int64_t end) {
        for_lanes(end - begin, [&](int64_t i, int n) {
          store(d + begin + i, load(d + begin + i, n) + load(s + begin + i, n), n);
        });
      });
    });
  });
}

}  // namespace tessera
