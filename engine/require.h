// Error and TS_REQUIRE: plain-text checks for headers and .cu files
// (which may not see fmt). .cpp files use check.h.
#pragma once

#include <stdexcept>
#include <string>

namespace tessera {

// What went wrong, as the process reports it: each kind is one exit code (conventions.md section 2).
enum class ErrorKind {
  internal = 1,    // a bug in Tessera, or a misuse of its C++ interface (wrong shape, wrong dtype)
  config = 2,      // command line or configuration
  data = 3,        // a picture, a folder, a list
  checkpoint = 4,  // a checkpoint that cannot be read, or belongs to another model
  non_finite = 5,  // too many steps with NaN or infinity
  memory = 6,      // out of memory
  peer = 7,        // another rank is gone
  io = 8,          // disk full, permission, I/O error
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  explicit Error(const std::string& what) : Error(ErrorKind::internal, what) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

// Throws Error(internal) with "text [file:line]".
[[noreturn]] void fail_require(const std::string& text, const char* file, int line);

}  // namespace tessera

#define TS_REQUIRE(condition, text)                                      \
  do {                                                                   \
    if (!(condition)) ::tessera::fail_require(text, __FILE__, __LINE__); \
  } while (0)
