// The parts of a configuration that every training recipe shares.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/param.h"
#include "data/transform.h"
#include "recipes/trainer/config.h"

namespace tessera {

struct DataSettings {
  std::string train;
  int height = 224, width = 224, channels = 3;
  std::vector<double> mean, std;
  std::string transform = "crop";
  double min_scale = 0.2;
  double flip = 0.5;
  int workers = 2, prefetch = 2;
  double max_bad_fraction = 0.01;

  template <class V> void fields(V& v) {
    v("train", train,
      "pictures: folder:DIR (class folders), flat:DIR, list:FILE, idx:IMAGES[,LABELS], synthetic:N,HxWxC");
    v("height", height, Range{1, 65500}, "height a model sees, pixels");
    v("width", width, Range{1, 65500}, "width a model sees, pixels");
    v("channels", channels, Range{1, 4}, "1 grey, 3 RGB, 4 RGBA");
    v("mean", mean, Range{0, 1}, "per channel, of pixels in [0, 1]; [] takes ImageNet's");
    v("std", std, Range::above(0), "per channel, likewise");
    v("transform", transform, OneOf{"crop", "plain", "pad"},
      "crop: random resized crop; plain: resize; pad: centre on zeros");
    v("min_scale", min_scale, Range{0, 1, true}, "crop: smallest part of the picture's area");
    v("flip", flip, Range{0, 1}, "crop: probability of a horizontal flip");
    v("workers", workers, Range{0, 256}, "decoding threads; 0 decodes between steps");
    v("prefetch", prefetch, Range{1, 64}, "batches made ahead");
    v("max_bad_fraction", max_bad_fraction, Range{0, 1}, "share of broken samples at which a run stops");
  }

  TransformOptions transform_options() const;
  // mean and std as floats, ImageNet's when empty. Throws Error(config) unless there is one per channel.
  std::vector<float> mean_or_default() const;
  std::vector<float> std_or_default() const;
};

struct OptimSettings {
  double blr = 1.5e-4, min_lr = 0, warmup_epochs = 40;
  double weight_decay = 0.05, beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double clip_norm = 0;

  template <class V> void fields(V& v) {
    v("blr", blr, Range::at_least(0), "base learning rate: lr = blr * effective batch / 256");
    v("min_lr", min_lr, Range::at_least(0), "learning rate at the end of the cosine");
    v("warmup_epochs", warmup_epochs, Range::at_least(0), "linear warm-up from 0");
    v("weight_decay", weight_decay, Range::at_least(0), "of matrices and tokens; biases and norms have none");
    v("beta1", beta1, Range::half_open(0, 1), "AdamW");
    v("beta2", beta2, Range::half_open(0, 1), "AdamW");
    v("eps", eps, Range::above(0), "AdamW");
    v("clip_norm", clip_norm, Range::at_least(0), "largest global gradient norm; 0 does not clip");
  }
};

struct TrainSettings {
  int64_t epochs = 800, batch = 64, accumulate = 1;
  int64_t max_steps = 0;
  uint64_t seed() const { return static_cast<uint64_t>(seed_value); }
  int64_t seed_value = 0;
  std::string precision = "f32", device = "cpu";
  bool recompute = false;
  int threads = 0;
  int64_t log_every = 10, save_every = 0, picture_every = 0;
  int keep = 2, max_skips = 10;

  template <class V> void fields(V& v) {
    v("epochs", epochs, Range{1, 1e6}, "passes over the data; also the length of the cosine");
    v("batch", batch, Range{1, 1e6}, "pictures of one forward pass");
    v("accumulate", accumulate, Range{1, 1e6},
      "forward passes per optimiser step; effective batch = batch * accumulate");
    v("max_steps", max_steps, Range::at_least(0), "stop after so many optimiser steps; 0 = all epochs");
    v("seed", seed_value, Range::at_least(0), "of weights, order, crops, masks");
    v("precision", precision, OneOf{"f32", "bf16"},
      "matrix products and activations; weights are kept in f32");
    v("device", device, "cpu");
    v("recompute", recompute, "keep only each block's input; compute it again in backward");
    v("threads", threads, Range{0, 1024}, "0 = OMP_NUM_THREADS or all cores");
    v("log_every", log_every, Range::at_least(1), "steps between log lines");
    v("save_every", save_every, Range::at_least(0), "steps between checkpoints; 0 = every epoch");
    v("picture_every", picture_every, Range::at_least(0),
      "steps between pictures in vis/; 0 = at each checkpoint");
    v("keep", keep, Range{2, 1000}, "checkpoints kept");
    v("max_skips", max_skips, Range::at_least(0), "steps with NaN or infinity that may be skipped");
  }

  Precision compute() const { return precision == "bf16" ? Precision::bf16() : Precision::f32(); }
};

}  // namespace tessera
