#include "engine/check.h"

#include <string_view>

namespace tessera {

void fail_require(const std::string& text, const char* file, int line) {
  // Compilers write the path they were given;
  // what stands before this file's own place in the tree is cut off.
  constexpr std::string_view here = __FILE__;
  constexpr std::string_view root = here.substr(0, here.size() - std::string_view("engine/check.cpp").size());
  std::string_view place = file;
  if (place.starts_with(root)) place.remove_prefix(root.size());
  throw Error(ErrorKind::internal, text + " [" + std::string(place) + ":" + std::to_string(line) + "]");
}

}  // namespace tessera
