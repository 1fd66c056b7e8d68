// The trainer: one loop for every recipe. Data in, loss, backward, update, log, checkpoint.
#pragma once

#include <string>

#include "recipes/trainer/cli.h"
#include "recipes/trainer/recipe.h"
#include "recipes/trainer/settings.h"

namespace tessera {

struct Training {
  DataSettings data;
  OptimSettings optim;
  TrainSettings train;
  std::string config;  // the whole resolved configuration, YAML: kept in the run's folder and in checkpoints
};

// Trains `recipe` into the folder call.out: afresh, from weights (call.init_from) or from its latest
// checkpoint (resume, bit for bit as if it had never stopped). Returns 0, or 75 when a signal asked to leave
// and a checkpoint was saved. Throws Error of the kind that conventions section 2 gives an exit code.
int train(Recipe& recipe, const Training& training, const Invocation& call);

// Threads of this process as the settings say, each pinned to a core (pin_threads). Before anything computes.
void apply_threads(int threads);

// Overwrites every parameter of `store` from `weights` by name. Throws Error(checkpoint) that lists what is
// missing, of another shape, or unknown to the model; nothing is overwritten then.
void load_parameters(ParamStore& store, const Weights& weights);

}  // namespace tessera
