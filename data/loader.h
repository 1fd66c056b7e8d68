// Loader: batches of a data set in the sampler's order, made ahead of time by worker threads. Bits and order
// do not depend on the number of workers or on where in an epoch the loader starts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/sampler.h"
#include "data/transform.h"
#include "engine/tensor.h"

namespace tessera {

// A sample that could not be decoded, and the one that stands in for it.
struct Substitute {
  int64_t epoch = 0, position = 0;      // where it happened
  int64_t broken = 0, replacement = 0;  // indices in the data set
  std::string path, reason;             // of the broken one
};

struct Batch {
  Tensor pixels;                // u8 [B, H, W, C]
  std::vector<int32_t> labels;  // [B]; -1 where the data set has none
  std::vector<int64_t>
      indices;  // [B]: index in the data set of each sample (of the replacement, where there is one)
  int64_t epoch = 0;
  int64_t first_position = 0;           // position in the epoch of the first sample
  std::vector<Substitute> substitutes;  // in order of position
  int64_t size() const { return static_cast<int64_t>(indices.size()); }
};

struct LoaderOptions {
  SamplerOptions sampler;  // its size is filled in; its seed also addresses the transforms
  TransformOptions transform;
  int workers = 2;   // threads; 0 makes each batch in next()
  int prefetch = 2;  // batches made ahead of the one in use
  bool endless =
      true;  // false: next() past the end of the epoch is an error (and nothing is made ahead of it)
  double max_bad_fraction =
      0.01;  // of the samples delivered; judged once 1000 (or a whole epoch, if that is less) have been
  // Asked while next() waits for workers: true makes it give up, so that a data stall holds nobody back.
  std::function<bool()> give_up;
  // Called once for each broken sample, from next(), in the order of batches: the line of bad_samples.jsonl.
  std::function<void(const Substitute&)> on_bad_sample;
};

class Loader {
 public:
  // Throws Error(config) when an option is out of range. Begins at epoch 0, batch 0; threads start with the
  // first next().
  Loader(std::shared_ptr<const Dataset> data, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const;
  // Goes to a batch of an epoch, whatever was being made; next() gives that one. Throws Error(internal) if
  // out of range.
  void start(int64_t epoch, int64_t batch = 0);
  // The next batch, going from epoch to epoch. Throws what making it threw, and again on every later call
  // until start(); Error(data) when too many samples are broken, or a sample and every stand-in tried.
  // Empty (size 0) when options.give_up said so while it waited; the batch then stays the next.
  Batch next();

  // Tells the workers to end, and waits for them as long as `patience`. False when one is still stuck in a
  // sample: the destructor would wait for it. next() must not be called afterwards.
  bool stop(std::chrono::milliseconds patience);

  double wait_seconds() const;  // spent in next() until a batch was ready
  int64_t bad_samples() const;  // substitutes delivered so far

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// One line of bad_samples.jsonl, without the line break; keys epoch, position, index, path, reason,
// substitute.
std::string bad_sample_line(const Substitute& substitute);

}  // namespace tessera
