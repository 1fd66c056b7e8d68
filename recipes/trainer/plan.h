// What a run will need, told before it starts: FLOPs, memory by label, time. Behind --dry-run.
#pragma once

#include <cstdint>
#include <string>

#include "recipes/trainer/floor.h"
#include "recipes/trainer/memory_plan.h"
#include "recipes/trainer/trainer.h"

namespace tessera {

struct StepPlan {
  MemoryPlan memory;
  int64_t fitting_batch = 0;  // the configured batch halved until its plan fits memory::limit(); 0: none does
  // Of the step with the pictures of the probe: how many, its floor and its wall-clock seconds.
  int64_t probe_pictures = 0;
  Floor probe_floor;
  double probe_seconds = 0;
};

// Takes real steps (loss, backward, update) of at most four made-up pictures per forward pass and derives the
// memory of the configured one: train.batch pictures, train.accumulate forward passes, data.prefetch batches
// made ahead. So a machine that could not hold the configured batch can plan it. Moves the parameters of
// `recipe`. Throws Error(memory) if not even the probe fits.
StepPlan plan_step(Recipe& recipe, const Training& training);

// How long a run is; the trainer knows.
struct RunLength {
  int64_t pictures = 0;  // of data.train
  int64_t steps = 0, steps_per_epoch = 0;
  double lr = 0;  // at the top of the schedule
};

// --dry-run: plans, measures the machine's roof, prints the plan on stdout, and warns if memory falls short.
void dry_run(Recipe& recipe, const Training& training, const RunLength& length);

// One line for an out-of-memory message: the planned peak, and a batch that would fit. "" if the probe does
// not fit either.
std::string planned_memory(Recipe& recipe, const Training& training);

}  // namespace tessera
