// R16: asked to leave, a run saves the step it is in and leaves with 75, whatever it is doing.
#include <signal.h>

#include <filesystem>

#include "engine/check.h"
#include "tests/campaign/trials.h"

namespace tessera::campaign {
namespace {

constexpr double kAtMost = 10;     // seconds from a signal to the end (reliability R16)
constexpr double kStanding = 0.3;  // seconds without a new step: the run stands

// The part of the trial that ends the first process: "" when all was as promised, "late" when the run had
// finished before, else what was wrong.
struct Trial {
  const Bench& bench;
  const std::string& run;
  Dice& dice;
  Tally& tally;
  double within;  // seconds of the run in which a random signal may fall

  // After a signal that asks: 75, the checkpoint is of the latest step logged, and that is at most one step
  // past `before`. A run that was `maybe_deaf`, still loading, may die if it wrote nothing at all.
  std::string left_well(Child& child, int64_t before, bool maybe_deaf = false) {
    const double begin = seconds_now();
    const std::optional<Ended> ended = child.wait(kAtMost);
    if (!ended) return fmt::format("still there after {} s", kAtMost);
    tally.longest(seconds_now() - begin);
    if (*ended == Ended{0}) return "late";
    if (maybe_deaf && ended->code < 0 && !std::filesystem::exists(run)) {
      tally.count("before the program listens");
      return "";
    }
    if (*ended != Ended{75}) return fmt::format("ended with {}", ended->code);
    const int64_t saved = latest_step(run), logged = logged_steps(run);
    if (saved != logged) return fmt::format("step {} was saved, {} was the latest", saved, logged);
    if (before >= 0 && saved > before + 1) return fmt::format("left at step {}, asked at {}", saved, before);
    return "";
  }

  std::string at_random(int signal) {
    const auto child = bench.start(run, {}, false);
    child->wait(dice.uniform() * within);
    if (!child->freeze()) return "late";  // so that the steps done at the signal are known
    const int64_t before = logged_steps(run);
    child->signal(signal);
    child->signal(SIGCONT);
    return left_well(*child, before, true);
  }

  std::string at_fault() {
    struct Point {
      const char* name;
      int64_t visits;
    };
    constexpr int64_t kSaves = kSteps / kSaveEvery;
    constexpr Point kPoints[] = {{"startup", 1},
                                 {"step", kSteps},
                                 {"micro", kAccumulate * kSteps},
                                 {"picture", 1},
                                 {"loader.sample", 40},
                                 {"save.begin", kSaves},
                                 {"save.end", kSaves},
                                 {"save.after_write", 3 * kSaves},
                                 {"save.before_rename", kSaves},
                                 {"write", 40 * kSaves},
                                 {"save.before_delete", kSaves},
                                 {"save.after_rename", kSaves},
                                 {"sync", 6 * kSaves},
                                 {"rename", kSaves},
                                 {"create", 3 * kSaves}};
    const Point& p = kPoints[dice.below(std::size(kPoints))];
    const int64_t n = 1 + dice.below(p.visits);
    const auto child = bench.start(run, {}, false, fmt::format("{}:{}=term", p.name, n));
    const std::optional<Ended> ended = child->wait(60);  // of the whole run: it is the run that asks itself
    if (!ended) return "still there after a minute";
    std::string problem = left_well(*child, -1);
    if (!problem.empty()) return problem;
    const std::string point = p.name;
    const int64_t saved = latest_step(run);
    const int64_t wanted = point == "startup" ? 0
                           : point == "step"  ? n
                           : point == "micro" ? (n + kAccumulate - 1) / kAccumulate
                                              : saved;
    return saved == wanted ? "" : fmt::format("{}:{} left at step {}, not {}", p.name, n, saved, wanted);
  }

  // The save that SIGTERM asks for hangs; a second signal must end the run, and the older checkpoints hold.
  std::string twice(int second) {
    constexpr const char* kPoints[] = {"save.begin",        "save.after_write",   "save.before_rename",
                                       "save.after_rename", "save.before_delete", "save.end"};
    const std::string point = kPoints[dice.below(std::size(kPoints))];
    const int64_t step = 1 + dice.below(kSteps), save = (step - 1) / kSaveEvery + 1;
    const int64_t visit = point == "save.after_write" ? 3 * (save - 1) + 1 + dice.below(3) : save;
    const auto child = bench.start(run, {}, false,
                                   fmt::format("step:{}=term,{}:{}=hang", step, point, visit));
    while (child->running() && logged_steps(run) < step) sleep_seconds(0.005);
    if (const auto ended = child->wait(kStanding)) return fmt::format("ended with {}", ended->code);
    const int64_t before = latest_step(run), older = (step - 1) / kSaveEvery * kSaveEvery;
    if (before < older && older > 0) return fmt::format("step {} is lost to a save under way", older);
    const double begin = seconds_now();
    child->signal(second);
    const std::optional<Ended> ended = child->wait(kAtMost);
    if (!ended || *ended != Ended{-second}) return "the second signal did not end it";
    tally.longest(seconds_now() - begin);
    return latest_step(run) == before ? "" : "the checkpoint before is gone";
  }

  // A worker never comes back from a sample.
  std::string stalled(int signal) {
    const int64_t sample = 1 + dice.below(kEpochs * kPictures);
    const auto child = bench.start(run, {}, false, fmt::format("loader.sample:{}=hang", sample));
    int64_t before = -1;
    for (double since = seconds_now(); child->running() && seconds_now() - since < kStanding;) {
      if (const int64_t now = logged_steps(run); now != before) before = now, since = seconds_now();
      sleep_seconds(0.01);
    }
    child->signal(signal);
    return left_well(*child, before);
  }
};

std::string trial(const Plan& plan, int64_t i, const std::string& run, Tally& tally) {
  Dice dice(plan.seed, i);
  Trial t{plan.bench, run, dice, tally, plan.bench.whole_seconds()};
  std::string how = "late";
  for (int attempt = 0; how == "late"; ++attempt) {
    if (attempt == 50) return "50 runs finished before they could be asked";
    if (attempt > 0) t.within *= 0.8;  // the machine was busier when the whole run was timed
    std::filesystem::remove_all(run);
    switch (i % 6) {
      case 0: how = t.at_random(SIGTERM); break;
      case 1: how = t.at_fault(); break;
      case 2: how = t.at_random(SIGINT); break;
      case 3: how = t.twice(i % 12 == 3 ? SIGTERM : SIGINT); break;
      case 4: how = t.at_fault(); break;
      default: how = t.stalled(i % 12 == 5 ? SIGTERM : SIGUSR1);
    }
  }
  constexpr const char* kKinds[] = {"SIGTERM at random", "SIGTERM by fault", "SIGINT at random",
                                    "twice in a save",   "SIGTERM by fault", "in a data stall"};
  tally.count(kKinds[i % 6]);
  if (!how.empty()) return fmt::format("{}: {}", kKinds[i % 6], how);
  if (latest_step(run) == 0) tally.count("at step 0");
  const Ended ended = plan.bench.finish(run, {}, true);
  if (ended != Ended{0}) return fmt::format("the resumed run ended with {}", ended.code);
  return difference(plan.bench.whole(), run);
}

}  // namespace

bool preempt(const Plan& plan) {
  Tally tally("R16 asked to leave");
  each_trial(plan, plan.trials, tally, "preempt",
             [&](int64_t i, const std::string& run) { return trial(plan, i, run, tally); });
  tally.print();
  return tally.failed() == 0;
}

}  // namespace tessera::campaign
