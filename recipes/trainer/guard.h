// What made a step not finite. A clean step pays nothing: everything is a pure function of its address, so a
// skipped one is computed again with every value looked at, and the first offender is named.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/loader.h"
#include "recipes/trainer/recipe.h"

namespace tessera {

// The address of a step that was skipped, and what came out of it.
struct SkippedStep {
  Step at;  // of its first micro-batch
  int64_t accumulate = 1;
  int64_t epoch = 0, batch_in_epoch = 0;  // of its first micro-batch, for the loader
  double loss = 0, grad_norm = 0;
};

struct Diagnosis {
  std::string text;  // for people
  std::string json;  // members of a JSON object, without braces: the same at every repetition
};

// Computes the step again, with the parameters as they are: call before anything changes them. Overwrites the
// gradients. Names the first value that is not finite: op, forward or backward, layer, micro-batch and the
// samples whose rows hold it; or a parameter; or says that this time all was finite.
Diagnosis diagnose(Recipe& recipe, const SkippedStep& step, std::shared_ptr<const Dataset> data,
                   LoaderOptions options);

// Loss of one micro-batch as recorded on the current tape, with fault point "loss".
Var micro_loss(Recipe& recipe, const Batch& batch, const Step& at);

}  // namespace tessera
