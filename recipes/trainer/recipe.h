// Recipe: says what the loss of a batch is. The trainer does the rest, the same for all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "autograd/param.h"
#include "data/loader.h"
#include "recipes/trainer/checkpoint.h"

namespace tessera {

// Where a batch stands: the address of everything random inside a model.
struct Step {
  int64_t index = 0;         // optimiser steps done before this one
  int64_t first_sample = 0;  // position of the batch's first sample in the step's global batch
  uint64_t seed = 0;
  double epoch = 0;  // epochs done, fractional
};

class Recipe {
 public:
  virtual ~Recipe() = default;

  virtual ParamStore& params() = 0;
  // Loss of one batch, [1] f32, recorded on the current tape. May run a teacher under NoGrad, choose a mask,
  // anything.
  virtual Var loss(const Batch& batch, const Step& step) = 0;
  // After the optimiser has moved the parameters (HPM: the teacher follows).
  virtual void after_update(const Step&) {}

  // What a checkpoint says of itself: recipe, model, parts, target, normalisation, sizes. The trainer adds
  // step, epoch, seed and configuration.
  virtual CheckpointInfo describe() const = 0;
  // A picture of what the model does with the first samples of a batch, for the run's vis/ folder and
  // TensorBoard.
  virtual std::optional<Picture> picture(const Batch&, const Step&) { return std::nullopt; }

  // Multiply-adds of one picture's forward pass, for --dry-run. 0: not known.
  virtual double multiply_adds() const { return 0; }
};

}  // namespace tessera
