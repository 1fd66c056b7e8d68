// campaign: breaks off real runs of `mae pretrain` in every way a process can end, and demands the bits of
// the unbroken run.
//   campaign [kill] [resume] [same] [preempt] [memory] [--trials N] [--seed S] [--jobs J] [--only I]
//            [--mae PATH]
// Without --trials the small campaign of ./check. Exit 1 when a trial failed; its folder is then kept.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "engine/check.h"
#include "engine/log.h"
#include "tests/campaign/trials.h"

namespace tessera::campaign {
namespace {

struct Arguments {
  std::vector<std::string> parts;
  std::string mae;
  int64_t trials = 0, seed = 1, jobs = 0, only = -1;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  a.mae = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "mae";
  a.jobs = std::max(1u, std::thread::hardware_concurrency());
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const bool part = name == "kill" || name == "resume" || name == "same" || name == "preempt" ||
                      name == "memory";
    if (part) a.parts.push_back(name);
    if (part) continue;
    if (i + 1 == argc) fail(ErrorKind::config, "campaign: {} is unknown or lacks its value", name);
    const std::string value = argv[++i];
    int64_t* number = name == "--trials" ? &a.trials
                      : name == "--seed" ? &a.seed
                      : name == "--jobs" ? &a.jobs
                      : name == "--only" ? &a.only
                                         : nullptr;
    if (number != nullptr) {
      *number = std::atoll(value.c_str());
    } else if (name == "--mae") {
      a.mae = value;
    } else {
      fail(ErrorKind::config, "campaign: {} is unknown", name);
    }
  }
  if (a.parts.empty()) a.parts = {"same", "resume", "kill", "preempt", "memory"};
  return a;
}

int run(const Arguments& a) {
  log::set_level(log::Level::error);  // a damaged or missing generation is expected here
  const double begin = seconds_now();
  Bench bench(a.mae);
  fmt::print("campaign: {} steps, unbroken in {:.2f} s; seed {}\n", kSteps, bench.whole_seconds(), a.seed);
  bool well = true;
  for (const std::string& part : a.parts) {
    const auto trials = [&](int64_t small) { return a.trials > 0 ? a.trials : small; };
    Plan plan{bench, 0, static_cast<uint64_t>(a.seed), static_cast<int>(a.jobs), a.only};
    if (part == "kill") plan.trials = trials(40), well &= kill_anywhere(plan);
    if (part == "resume") plan.trials = trials(1000), well &= resume_matrix(plan);
    if (part == "same") plan.trials = trials(1000), well &= same_bits(plan);
    if (part == "preempt") plan.trials = trials(30), well &= preempt(plan);
    if (part == "memory") plan.trials = trials(50), well &= too_little_memory(plan);
  }
  if (!well) bench.keep();
  fmt::print("campaign: {} in {:.0f} s\n", well ? "all is well" : "FAILED", seconds_now() - begin);
  return well ? 0 : 1;
}

}  // namespace
}  // namespace tessera::campaign

int main(int argc, char** argv) {
  doctest::Context context;  // the makers of test pictures assert by doctest
  context.setAsDefaultForAssertsOutOfTestCases();
  try {
    return tessera::campaign::run(tessera::campaign::parse(argc, argv));
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
