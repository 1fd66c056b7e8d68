// Turns the profiler on around steps, and prints what it saw.
#include "recipes/trainer/step_profile.h"

#include <fmt/format.h>

#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/trainer/cli.h"

namespace tessera {

ProfiledStep::ProfiledStep(bool on) {
  if (!on) return;
  profile::enable(true);
  scope_.emplace("step");
}

ProfiledStep::~ProfiledStep() {
  if (!scope_) return;
  scope_.reset();
  profile::enable(false);
}

void print_step_profile(const std::string& run) {
  if (profile::rows().empty()) {
    log::warning("--profile: nothing to show; the first step only warms up, so at least two must run");
    return;
  }
  const std::string trace = run + "/trace.json";
  profile::write_trace(trace);
  print_to_stdout(fmt::format("{}trace: {}\n", profile::table("step", threads()), trace));
}

}  // namespace tessera
