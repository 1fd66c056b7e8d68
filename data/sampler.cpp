#include "data/sampler.h"

#include <algorithm>

#include "engine/check.h"
#include "engine/random.h"

namespace tessera {

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  const SamplerOptions& o = options_;
  if (o.size < 1) fail(ErrorKind::config, "sampler: the data set has {} samples", o.size);
  if (o.batch < 1) fail(ErrorKind::config, "sampler: a batch of {}; it must be at least 1", o.batch);
  if (o.world < 1 || o.rank < 0 || o.rank >= o.world)
    fail(ErrorKind::config, "sampler: rank {} of {}", o.rank, o.world);
  if (o.multiple < 1)
    fail(ErrorKind::config, "sampler: batches in multiples of {}; wanted at least 1", o.multiple);
  int64_t global = 0;
  if (__builtin_mul_overflow(o.batch, int64_t{o.world}, &global) || global > int64_t{1} << 48) {
    fail(ErrorKind::config, "sampler: a batch of {} on {} ranks is too large", o.batch, o.world);
  }
  batches_ = o.drop_last ? o.size / global / o.multiple * o.multiple : (o.size + global - 1) / global;
  if (batches_ == 0) {
    fail(ErrorKind::config,
         "sampler: {} samples do not fill one step of {} x {} ranks x {} accumulated batches; use a smaller "
         "batch or more "
         "samples",
         o.size, o.batch, o.world, o.multiple);
  }
}

int64_t Sampler::first_position(int64_t batch) const {
  TS_CHECK(batch >= 0 && batch < batches_, "sampler: batch {} of an epoch of {}", batch, batches_);
  return std::min((batch * options_.world + options_.rank) * options_.batch, options_.size);
}

int64_t Sampler::count(int64_t batch) const {
  return std::min(options_.batch, options_.size - first_position(batch));
}

int64_t Sampler::index(int64_t epoch, int64_t position) const {
  TS_CHECK(epoch >= 0 && position >= 0 && position < options_.size,
           "sampler: position {} of epoch {}, which has {}", position, epoch, options_.size);
  if (!options_.shuffle) return position;
  return static_cast<int64_t>(shuffled(options_.seed, static_cast<uint64_t>(epoch),
                                       static_cast<uint64_t>(position),
                                       static_cast<uint64_t>(options_.size)));
}

}  // namespace tessera
