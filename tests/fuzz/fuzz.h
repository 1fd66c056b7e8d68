// What the fuzz targets share: which exceptions are answers, and a file that is memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "engine/require.h"

namespace tessera::fuzz {

// Ends the run as a finding unless `holds`.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

// Runs f. True when it accepts its input, false when it refuses it with an Error of one of the kinds that
// blame the input. Another kind (a check of our own, memory) is a finding; so is any other exception, which
// escapes to libFuzzer.
template <class F> bool accepted(std::initializer_list<ErrorKind> answers, F&& f) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    require(e.what()[0] != '\0', "an error without a text");
    for (const ErrorKind kind : answers) {
      if (e.kind() == kind) return false;
    }
    std::fprintf(stderr, "fuzz: an error of kind %d: %s\n", e.exit_code(), e.what());
    std::abort();
  }
}

// A file in memory, for readers that take a path.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(fd_)) {
    require(fd_ >= 0, "memfd_create failed");
  }
  const std::string& path() const { return path_; }
  // Replaces its content.
  void set(const uint8_t* data, size_t size) {
    require(ftruncate(fd_, 0) == 0 && pwrite(fd_, data, size, 0) == static_cast<ssize_t>(size),
            "the memory file cannot be written");
  }

 private:
  int fd_;
  std::string path_;
};

}  // namespace tessera::fuzz
