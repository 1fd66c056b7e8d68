// A small MAE run on made-up pictures, and a folder for it that is gone at the end of a test.
#pragma once

#include "engine/log.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/checkpoint.h"
#include "recipes/trainer/trainer.h"
#include "tests/recipes/scratch.h"

namespace tessera::test {

// A 4 x 5 grid of 4 x 4 patches: grey, non-square, shuffled, cropped and flipped; 6 steps of 2 x 4 an epoch.
inline MaeSettings small_mae() {
  MaeSettings s;
  s.model.name = "tiny";
  s.model.patch = 4;
  s.model.dim = 24;
  s.model.depth = 2;
  s.model.heads = 3;
  s.model.decoder_dim = 16;
  s.model.decoder_depth = 1;
  s.model.decoder_heads = 2;
  s.data.train = "synthetic:50,20x24x1";
  s.data.height = 16;
  s.data.width = 20;
  s.data.channels = 1;
  s.data.mean = {0.5};
  s.data.std = {0.25};
  s.data.workers = 0;
  s.optim.blr = 0.2;
  s.optim.warmup_epochs = 1;
  s.train.epochs = 5;
  s.train.batch = 4;
  s.train.accumulate = 2;
  s.train.log_every = 1;
  s.train.save_every = 1000;
  return s;
}

inline int train_mae(const MaeSettings& s, const Invocation& call) {
  MaePretrain recipe(s);
  return train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call);
}

inline int train_mae(const MaeSettings& s, const std::string& out, Existing existing = Existing::refuse) {
  Invocation call;
  call.out = out;
  call.existing = existing;
  return train_mae(s, call);
}

// Log lines below errors are kept down meanwhile.
struct Quiet {
  Quiet() { log::set_level(log::Level::error); }
  ~Quiet() { log::set_level(log::Level::info); }
};

}  // namespace tessera::test
