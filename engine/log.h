// Log: lines for people on stderr. (The run's JSON lines are recipes/trainer's.)
#pragma once

#include <string>

namespace tessera::log {

enum class Level { debug, info, warning, error };
void set_level(Level level);  // default info
void info(const std::string& line);
void warning(const std::string& line);
void error(const std::string& line);
// Prints `line` once per distinct `key` in this process.
void warn_once(const std::string& key, const std::string& line);

}  // namespace tessera::log
