// The order of an epoch: which sample stands at which position, and which positions are a rank's. A pure
// function of (seed, epoch, position), so any point of any epoch is reached at once, and the samples of
// global batch k are the same for every number of ranks.
#pragma once

#include <cstdint>

namespace tessera {

struct SamplerOptions {
  int64_t size = 0;   // samples in the data set
  int64_t batch = 0;  // samples per batch and rank
  uint64_t seed = 0;
  bool shuffle = true;    // false: position i is sample i (evaluation)
  bool drop_last = true;  // false: the last batch may be short, or empty on some ranks
  int rank = 0, world = 1;
  // With drop_last, an epoch's batches are cut to a multiple of this: the number of batches a trainer
  // accumulates.
  int64_t multiple = 1;
};

class Sampler {
 public:
  // Throws Error(config) when options make no sense, and when drop_last leaves no batch (naming the sizes and
  // the remedy).
  explicit Sampler(const SamplerOptions& options);

  // Batches of this rank in an epoch; equal on all ranks.
  int64_t batches_per_epoch() const { return batches_; }
  // Positions of the epoch that make up batch `batch` of this rank: [first_position, first_position + count).
  // Batch k of all ranks together is positions [k * batch * world, (k + 1) * batch * world), rank by rank.
  int64_t first_position(int64_t batch) const;
  int64_t count(int64_t batch) const;
  // Index in the data set of the sample at `position` of `epoch`.
  int64_t index(int64_t epoch, int64_t position) const;

  const SamplerOptions& options() const { return options_; }

 private:
  SamplerOptions options_;
  int64_t batches_ = 0;
};

}  // namespace tessera
