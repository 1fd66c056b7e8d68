// DType: what a tensor's numbers are.
// Compute with f32, bf16 (and index with i32, u8); store f16, f64, i64, boolean too.
#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "engine/require.h"

namespace tessera {

enum class DType : uint8_t { f32, bf16, i32, u8, f16, f64, i64, boolean };

// Upper half of an IEEE binary32. Conversion rounds to nearest even; NaN stays NaN.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float x) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(is_nan ? ((u >> 16) | 0x0040u) : ((u + 0x7fffu + ((u >> 16) & 1u)) >> 16));
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// clang 14 knows _Float16 only for processors that compute with it; its __fp16 is the same bits everywhere
// (but no function may return one, hence not std::bit_cast below).
#ifdef __clang__
using NativeHalf = __fp16;
#else
using NativeHalf = _Float16;
#endif

// IEEE binary16, for storage only. Conversion rounds to nearest even.
struct f16 {
  uint16_t bits = 0;
  f16() = default;
  explicit f16(float x) : bits(std::bit_cast<uint16_t>(static_cast<NativeHalf>(x))) {}
  explicit operator float() const { return static_cast<float>(__builtin_bit_cast(NativeHalf, bits)); }
};

template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<bf16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::u8; };
template <> struct DTypeOf<f16> { static constexpr DType value = DType::f16; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

inline constexpr int64_t size_of(DType d) {
  switch (d) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::u8:
    case DType::boolean: return 1;
    case DType::f64:
    case DType::i64: return 8;
  }
  return 0;
}

inline constexpr const char* name(DType d) {
  switch (d) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
    case DType::f16: return "f16";
    case DType::f64: return "f64";
    case DType::i64: return "i64";
    case DType::boolean: return "bool";
  }
  return "?";
}

inline constexpr bool is_float(DType d) { return d == DType::f32 || d == DType::bf16; }

// Calls f(T{}) with T = float or bf16; anything else is an error that names `op`.
template <class F> auto with_float_type(DType d, const char* op, F&& f) {
  if (d == DType::f32) return f(float{});
  TS_REQUIRE(d == DType::bf16, std::string(op) + ": dtype must be f32 or bf16, got " + name(d));
  return f(bf16{});
}

}  // namespace tessera
