// Names of a fixture's keys that carry numbers ("sincos2d.d16.g4.cls1", "crop3_5_30_41"), taken apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

// "a.b.c" at '.' -> {"a", "b", "c"}.
std::vector<std::string> split(const std::string& text, const std::string& separator);

// The whole numbers behind `prefix`: ("crop3_5", "crop", "_") -> {3, 5}. Throws UnknownOption unless `text`
// is that.
std::vector<int64_t> numbers_after(const std::string& text, const std::string& prefix,
                                   const std::string& separator = "x");
// The same for exactly one.
int64_t number_after(const std::string& text, const std::string& prefix);

}  // namespace tessera
