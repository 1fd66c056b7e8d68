// Floor: the time a perfect program would need for an optimiser step (what "times the floor" divides by).
#pragma once

#include "recipes/trainer/recipe.h"
#include "recipes/trainer/settings.h"

namespace tessera {

// What one optimiser step cannot do without: the multiply-adds of the model, and the optimiser's pass over
// the parameters. Everything else a perfect program hides behind these two.
struct Floor {
  double flops = 0;  // 2 per multiply-add; backward twice the forward; recomputation is not counted
  double bytes = 0;  // 28 per trained parameter (gradient, master and two moments read, the last three
                     // written), 2 more for a bf16 compute copy

  // At the machine's rates (engine/roof.h): GFLOP/s in the precision and threads of the run, and GB/s.
  double seconds(double gflops, double gbs) const { return flops / gflops * 1e-9 + bytes / gbs * 1e-9; }
};

// Of train.batch * train.accumulate pictures. flops is 0 if the recipe does not know its multiply-adds.
Floor step_floor(Recipe& recipe, const TrainSettings& train);

}  // namespace tessera
