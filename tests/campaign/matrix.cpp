// R3 and R5: where a run stopped, and how many threads and workers it had, leave no trace in its bits.
#include <signal.h>

#include "engine/check.h"
#include "tests/campaign/trials.h"

namespace tessera::campaign {
namespace {

// A place to stop: by max_steps after so many steps (0: not so), or by a fault that ends the run with `code`.
struct Stop {
  const char* name;
  int64_t max_steps;
  const char* faults;
  int code;
};
static_assert(kStepsPerEpoch == 4 && kAccumulate == 2);
constexpr Stop kStops[] = {{"step 0", 0, "startup:1=term", 75},
                           {"step 1", 1, "", 0},
                           {"mid-epoch", 6, "", 0},
                           {"last of an epoch", 8, "", 0},
                           {"first of the next", 9, "", 0},
                           {"accumulating, asked", 0, "micro:22=term", 75},
                           {"accumulating, killed", 0, "micro:28=kill", -SIGKILL}};

std::string resume_trial(const Bench& bench, int64_t i, const std::string& run, Tally& tally) {
  const Stop& stop = kStops[i % std::ssize(kStops)];
  const int64_t mix = i / std::ssize(kStops);
  Variant first, second;
  first.threads = mix & 1 ? 4 : 1;
  second.threads = 5 - first.threads;
  first.workers = mix & 2 ? 4 : 0;
  second.workers = 4 - first.workers;
  first.precision = second.precision = i % 2 == 0 ? "f32" : "bf16";
  first.max_steps = stop.max_steps;
  const Ended stopped = bench.finish(run, first, false, stop.faults);
  if (stopped != Ended{stop.code}) return fmt::format("stop at {}: ended with {}", stop.name, stopped.code);
  const int64_t before = latest_step(run);
  if (stop.code == 0 && before != stop.max_steps) return fmt::format("it stopped at step {}", before);
  const Ended ended = bench.finish(run, second, true);
  if (ended != Ended{0}) return fmt::format("the resumed run ended with {}", ended.code);
  tally.count(stop.name);
  return difference(bench.whole(first.precision), run, {.files = false, .more_pictures = stop.max_steps > 0});
}

constexpr Variant kVariants[] = {{1, 2, false}, {1, 2, false}, {1, 0, false}, {2, 1, false},
                                 {4, 4, false}, {1, 3, true},  {4, 0, true}};

}  // namespace

bool resume_matrix(const Plan& plan) {
  Tally tally("R3 resume matrix");
  each_trial(plan, std::min(plan.trials, 4 * std::ssize(kStops)), tally, "resume",
             [&](int64_t i, const std::string& run) { return resume_trial(plan.bench, i, run, tally); });
  tally.print();
  return tally.failed() == 0;
}

bool same_bits(const Plan& plan) {
  Tally tally("R5 the same bits");
  each_trial(plan, std::min(plan.trials, 2 * std::ssize(kVariants)), tally, "same",
             [&](int64_t i, const std::string& run) -> std::string {
               Variant v = kVariants[i / 2];
               v.precision = i % 2 == 0 ? "f32" : "bf16";
               const Ended ended = plan.bench.finish(run, v, false);
               if (ended != Ended{0}) return fmt::format("ended with {}", ended.code);
               tally.count(v.precision + (v.recompute ? ", recomputed" : ""));
               return difference(plan.bench.whole(v.precision), run, {.files = i < 4});
             });
  tally.print();
  return tally.failed() == 0;
}

}  // namespace tessera::campaign
