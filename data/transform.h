// From a sample of a data set to the pixels a model sees: decode, crop, resize, flip. A pure function of
// (seed, epoch, index): the same pixels on any worker, rank or resumption.
#pragma once

#include <cstdint>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/resize.h"

namespace tessera {

enum class TransformKind {
  train,  // random resized crop (augment.h), flip: pre-training
  probe,  // the same with a single draw: linear probing
  eval,   // shorter side to `shorter`, then the centre: evaluation
  plain,  // the whole picture as it is, resized (or padded) if its size differs
};

struct TransformOptions {
  TransformKind kind = TransformKind::train;
  int height = 224, width = 224;  // of the result
  int channels = 3;               // 1, 3 or 4
  Filter filter = Filter::bicubic;
  CropOptions crop;   // train, probe
  double flip = 0.5;  // train, probe: probability of mirroring
  int shorter = 256;  // eval
  // plain: centres a smaller picture on zeros instead of resizing it (28 x 28 to 32 x 32); a larger one is an
  // error.
  bool pad = false;
};

// Throws Error(config) naming the option when one is out of range.
void check_transform_options(const TransformOptions& options);

// Writes [height, width, channels] u8 to `to`. Random addresses: Philox(seed, crop, epoch, index),
// Philox(seed, flip, epoch, index). Throws what Dataset::load throws; Error(data) naming the sample when
// plain with `pad` meets a larger picture.
void transform(const Dataset& data, int64_t index, const TransformOptions& options, uint64_t seed,
               int64_t epoch, uint8_t* to);

}  // namespace tessera
