// Linear probing: a linear classifier on frozen features, trained after a batch normalisation without affine
// (He et al. 2022, appendix A.1; spec evaluation.md section 6).
#pragma once

#include <vector>

#include "autograd/param.h"
#include "autograd/var.h"
#include "engine/slab.h"
#include "ops/batch_norm/batch_norm.h"

namespace tessera {

struct ProbeOptions {
  enum class Optimizer { lars, sgd };
  Optimizer optimizer = Optimizer::lars;  // MAE's; HPM's is sgd with blr 1e-3, batch 2048, 100 epochs
  double blr = 0.1;                       // per 256 samples: lr = blr * batch / 256
  int64_t batch = 16384;                  // the whole training set if that is smaller
  int64_t epochs = 90;
  double warmup_epochs = 10;
  double min_lr = 0;
  double momentum = 0.9;
  double weight_decay = 0;
  double trust = 0.001;  // of lars
  uint64_t seed = 0;     // initial weights and order of the samples
};

// Batch normalisation and classifier, with their optimiser. Names and shapes are the reference's:
// head.0.running_mean, head.0.running_var [D]; head.1.weight [K,D] from N(0, 0.01^2), head.1.bias [K] from 0.
class ProbeHead {
 public:
  // Throws Error(config) on an option out of its range.
  ProbeHead(int64_t width, int64_t classes, const ProbeOptions& options);

  // One pass in training mode over features [B,D] f32 and labels [B] i32: gradients into the store, running
  // statistics moved. Returns the batch's mean cross-entropy. Throws if B < 2 or a label is out of range.
  double backward(const Tensor& features, const Tensor& labels);
  // One step of the optimiser with the gradients of the last backward().
  void update(double lr);
  // Scores [B,K] f32 in evaluation mode.
  Tensor logits(const Tensor& features) const;

  ParamStore& params() { return params_; }
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }

 private:
  Var forward(const Tensor& features, BatchNormMode mode) const;

  ProbeOptions options_;
  ParamStore params_;
  Param *weight_, *bias_;
  Tensor running_mean_, running_var_;
  Tensor momentum_, state_;
  std::vector<Segment> segments_;
};

struct ProbeResult {
  double top1 = 0, top5 = 0;  // shares of the test samples, 0..1; equal scores rank by class number
  double train_loss = 0;      // mean over the last epoch
};

struct ProbeBatch {
  Tensor features;  // [B,D] f32
  Tensor labels;    // [B] i32
};

// Trains a head on the batches that `next(epoch, step)` gives, options.batch samples each, samples / batch of
// them an epoch, and scores it on test features [M,D] f32 with labels [M] i32 below `classes`, each sample
// once. Throws Error(data) on a label out of range, Error(non_finite) if the loss is not finite.
ProbeResult linear_probe(const std::function<ProbeBatch(int64_t epoch, int64_t step)>& next, int64_t samples,
                         const Tensor& test, const Tensor& test_labels, int64_t classes,
                         const ProbeOptions& options);

// Trains a head on train features and scores it on test features, each sample once.
// train [N,D], test [M,D] f32; labels i32 [N] and [M], below `classes`. Every epoch visits the samples in
// another order; its last incomplete batch is left out, as in the reference. The features are fixed, so there
// is no augmentation. Throws Error(data) on a label out of range or fewer than two training samples,
// Error(non_finite) if the loss is not finite.
ProbeResult linear_probe(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                         const Tensor& test_labels, int64_t classes, const ProbeOptions& options = {});

}  // namespace tessera
