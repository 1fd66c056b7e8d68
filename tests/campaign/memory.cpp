// R17: under a limit of memory a run ends well or says what it asked for, who holds what, and what to do.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/check.h"
#include "tests/campaign/trials.h"

namespace tessera::campaign {
namespace {

constexpr double kAtMost = 60;  // seconds of one run
constexpr int kOutOfMemory = 6;

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// One step of 256 pictures; `limit` as TESSERA_MEMORY_LIMIT, bytes (0: none).
std::optional<Ended> one_step(const Bench& bench, const std::string& run, int64_t limit) {
  Child child({"/usr/bin/env", fmt::format("TESSERA_MEMORY_LIMIT={}", limit), bench.mae(), "pretrain",
               "fashion_mnist_quick", "data.train=synthetic:256,28x28x1", "data.workers=1", "train.batch=256",
               "train.max_steps=1", "train.threads=1", "train.log_every=1", "--out", run},
              "", run + ".out");
  return child.wait(kAtMost);
}

std::string judge(const std::optional<Ended>& ended, const std::string& said, Tally& tally) {
  if (!ended) return fmt::format("still there after {} s", kAtMost);
  if (*ended == Ended{0}) {
    tally.count("ran");
    return "";
  }
  if (*ended != Ended{kOutOfMemory}) return fmt::format("ended with {}", ended->code);
  for (const char* part : {"out of memory: ", "the limit of ", "in use ", "reserved ", "largest: "}) {
    if (said.find(part) == std::string::npos) return fmt::format("does not say \"{}\"", part);
  }
  tally.count("refused");
  if (said.find("planned for this configuration: ") != std::string::npos)
    tally.count("with the planned peak");
  return "";
}

}  // namespace

bool too_little_memory(const Plan& plan) {
  const std::string free = plan.bench.folder("memory-free");
  if (one_step(plan.bench, free, 0) != Ended{0})
    fail(ErrorKind::internal, "{}: no run without a limit", free);
  std::ifstream log(free + "/log.jsonl");
  std::string line;
  std::getline(log, line);
  const auto megabytes = nlohmann::json::parse(line).at("time").at("memory_mb").get<double>();
  const auto enough = static_cast<int64_t>(2.5 * megabytes) << 20;  // size classes cannot always share

  Tally tally("memory");
  each_trial(plan, plan.trials, tally, "memory", [&](int64_t i, const std::string& run) {
    const int64_t limit = enough * (i + 1) / plan.trials;
    const std::optional<Ended> ended = one_step(plan.bench, run, limit);
    return judge(ended, text_of(run + ".out"), tally);
  });
  tally.print();
  const int64_t least = std::max<int64_t>(1, plan.trials / 10);
  const bool both = plan.only >= 0 || (tally.of("ran") >= least && tally.of("refused") >= least &&
                                       tally.of("with the planned peak") >= plan.trials / 25);
  if (!both) fmt::print("memory: the levels do not reach from too small to enough\n");
  return tally.failed() == 0 && both;
}

}  // namespace tessera::campaign
