// TS_CHECK and fail(): checks with formatted text, for .cpp files only (nvcc cannot read fmt).
// Text convention: who first, both values, what to do, and the macro appends the place:
//   layer_norm: x ends in 768, gamma has 384 [ops/layer_norm/layer_norm.cpp:21]
#pragma once

#include <fmt/format.h>

#include <utility>

#include "engine/require.h"

namespace tessera {

// Throws Error(kind) with formatted text.
// For errors of the user's making (config, data, checkpoint, io): no place appended.
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(kind, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace tessera

#define TS_CHECK(condition, ...)                                                             \
  do {                                                                                       \
    if (!(condition)) ::tessera::fail_require(fmt::format(__VA_ARGS__), __FILE__, __LINE__); \
  } while (0)
