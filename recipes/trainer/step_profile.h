// --profile: where the time of a run's steps goes; saves, pictures and log lines stay outside.
#pragma once

#include <optional>
#include <string>

#include "engine/profile.h"

namespace tessera {

// Profiles this process while alive, as one call of the scope "step", if `on`.
class ProfiledStep {
 public:
  explicit ProfiledStep(bool on);
  ~ProfiledStep();
  ProfiledStep(const ProfiledStep&) = delete;
  ProfiledStep& operator=(const ProfiledStep&) = delete;

 private:
  std::optional<ProfileScope> scope_;
};

// Prints the table of all profiled steps and writes RUN/trace.json, a Chrome trace (about:tracing,
// Perfetto). Measures the machine's peaks for it, which takes seconds. Throws Error(io) when the trace cannot
// be written.
void print_step_profile(const std::string& run);

}  // namespace tessera
