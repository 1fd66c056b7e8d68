// Optimizer: AdamW over a store's slabs, with decay groups and layer-wise rates taken from the parameters
// themselves.
#pragma once

#include <span>
#include <vector>

#include "autograd/param.h"
#include "engine/safetensors.h"
#include "engine/slab.h"
#include "ops/adamw/adamw.h"

namespace tessera {

class Optimizer {
 public:
  // layer_decay 1: one rate for all; else a parameter of layer id d has rate * layer_decay^(deepest - d)
  // (spec evaluation.md section 3).
  Optimizer(ParamStore& store, const AdamWOptions& options, double layer_decay = 1.0);

  // One update at rate `lr` with the gradients of this step (which it completes: see
  // ParamStore::finish_gradients). max_norm > 0 clips the global norm. A gradient, or one of the
  // `losses` it came from ([1] f32), that is not finite changes nothing.
  void step(double lr, double max_norm = 0, std::span<const Tensor> losses = {});

  // Of the latest step: global norm before clipping, and whether the update was skipped.
  double grad_norm() const { return norm_.item(); }
  bool skipped() const;

  // Moments as exp_avg.<name>, exp_avg_sq.<name>, and the count of updates as "step". Loading throws
  // Error(checkpoint) naming what is missing or of another shape.
  SafeTensors state() const;
  void load_state(const SafeTensors& state);

 private:
  ParamStore& store_;
  AdamWOptions options_;
  std::vector<Segment> segments_;
  Tensor exp_avg_, exp_avg_sq_;  // slabs like the store's
  Tensor norm_;                  // [1]
  Tensor update_;                // engine/slab.h: rate, clip factor, skip flag, updates done
};

}  // namespace tessera
