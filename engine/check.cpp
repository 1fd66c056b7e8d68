#include "engine/check.h"

#include <string_view>

namespace tessera {

void fail_require(const std::string& text, const char* file, int line) {
  // Paths are given to the compiler relative to the root (-fmacro-prefix-map), so the message is the same everywhere.
  throw Error(ErrorKind::internal, text + " [" + std::string(file) + ":" + std::to_string(line) + "]");
}

}  // namespace tessera
