// Log lines on stderr, whole even when threads talk at once.
#include "engine/log.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>
#include <set>

namespace tessera::log {
namespace {

std::mutex mutex;
Level lowest = Level::info;

// `mutex` is held.
void print(Level level, const char* prefix, const std::string& line) {
  if (level < lowest) return;
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  const std::string text = (terminal ? "\r\x1b[K" : "") + (prefix + line) + "\n";  // wipes a progress bar
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void set_level(Level level) {
  const std::lock_guard lock(mutex);
  lowest = level;
}

void info(const std::string& line) {
  const std::lock_guard lock(mutex);
  print(Level::info, "", line);
}

void warning(const std::string& line) {
  const std::lock_guard lock(mutex);
  print(Level::warning, "warning: ", line);
}

void error(const std::string& line) {
  const std::lock_guard lock(mutex);
  print(Level::error, "error: ", line);
}

void warn_once(const std::string& key, const std::string& line) {
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(key).second) print(Level::warning, "warning: ", line);
}

}  // namespace tessera::log
