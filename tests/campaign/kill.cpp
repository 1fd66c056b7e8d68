// R1: kill -9 at any moment loses nothing but the steps since the last checkpoint, and those come again.
#include <signal.h>

#include <filesystem>

#include "engine/check.h"
#include "tests/campaign/trials.h"

namespace tessera::campaign {
namespace {

struct SavePoint {
  const char* name;
  int64_t visits;  // of an unbroken run, at least; write and sync count the logs' too
};
constexpr int64_t kSaves = (kSteps + kSaveEvery - 1) / kSaveEvery;
constexpr SavePoint kSavePoints[] = {{"save.begin", kSaves},
                                     {"save.after_write", 3 * kSaves},
                                     {"save.before_rename", kSaves},
                                     {"save.after_rename", kSaves},
                                     {"save.before_delete", kSaves},
                                     {"save.end", kSaves},
                                     {"write", 40 * kSaves},
                                     {"sync", 6 * kSaves},
                                     {"rename", kSaves},
                                     {"create", 3 * kSaves}};

// Every fourth in the last save: a run resumed from there finds nothing to do but to tidy up.
std::string save_fault(Dice& dice, const char* action) {
  const SavePoint& p = kSavePoints[dice.below(std::size(kSavePoints))];
  const int64_t visit = dice.below(4) == 0 ? p.visits : 1 + dice.below(p.visits);
  return fmt::format("{}:{}={}", p.name, visit, action);
}

// Lets a run end by SIGKILL, at a fault point or after a random time. How it ended: "" when it was killed,
// "late" when it had finished before, else what else happened.
std::string kill_once(const Bench& bench, const std::string& run, bool resume, bool at_fault, double within,
                      Dice& dice, Tally& tally) {
  const std::string fault = at_fault ? save_fault(dice, "kill") : "";
  const double moment = dice.uniform() * within;
  const auto child = bench.start(run, {}, resume, fault);
  std::optional<Ended> ended;
  if (!at_fault) {
    ended = child->wait(moment);
    child->signal(SIGKILL);
  }
  if (!ended) ended = child->wait(60);
  if (!ended) return "neither killed nor finished within a minute";
  if (*ended == Ended{0}) return "late";
  if (*ended != Ended{-SIGKILL}) return fmt::format("ended with {}", ended->code);
  const bool inside = save_under_way(run) || fault.starts_with("save.");
  tally.count(resume ? "killed again in the resumed run" : at_fault ? "by fault point" : "by clock");
  if (inside && !resume) tally.count("inside a save");
  if (!resume && latest_step(run) < 0) tally.count("before the first checkpoint");
  return "";
}

std::string trial(const Bench& bench, int64_t i, const std::string& run, uint64_t seed, Tally& tally) {
  Dice dice(seed, i);
  std::string how = "late";
  double within = bench.whole_seconds();  // less when runs finish first: the machine was busier when timed
  for (int attempt = 0; how == "late"; ++attempt) {
    if (attempt == 50) return "50 runs finished before they could be killed";
    if (attempt > 0) within *= 0.8, tally.count("drawn anew, having finished first");
    std::filesystem::remove_all(run);
    how = kill_once(bench, run, false, i % 3 == 0, within, dice, tally);
  }
  if (!how.empty()) return how;
  if (dice.below(3) == 0) {
    how = kill_once(bench, run, true, dice.below(2) == 0, within, dice, tally);
    if (!how.empty() && how != "late") return how;
  }
  const Ended ended = bench.finish(run, {}, true);
  if (ended != Ended{0}) return fmt::format("the resumed run ended with {}", ended.code);
  return difference(bench.whole(), run);
}

}  // namespace

bool kill_anywhere(const Plan& plan) {
  Tally tally("R1 kill -9");
  each_trial(plan, plan.trials, tally, "kill",
             [&](int64_t i, const std::string& run) { return trial(plan.bench, i, run, plan.seed, tally); });
  tally.print();
  const int64_t kills = tally.of("by clock") + tally.of("by fault point");
  const bool enough = plan.trials < 40 || plan.only >= 0 || 4 * tally.of("inside a save") >= kills;
  if (!enough) fmt::print("R1: fewer than a quarter of {} kills fell inside a save\n", kills);
  return enough && tally.failed() == 0;
}

}  // namespace tessera::campaign
