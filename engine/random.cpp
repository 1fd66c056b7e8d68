#include "engine/random.h"

#include "engine/check.h"

namespace tessera {

uint64_t shuffled(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n) {
  TS_CHECK(n >= 1 && i < n, "shuffle: position {} of {}", i, n);
  // A balanced Feistel network permutes [0, 4^half); walking the cycle until the value is below n keeps it a
  // permutation of [0, n). 4^half < 4n, so a walk takes fewer than four steps on average.
  int half = 1;
  while ((uint64_t{1} << (2 * half)) < n) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t value = i;
  do {
    uint64_t left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < 8; ++round) {
      const uint64_t f = Philox(seed, Purpose::shuffle, epoch, right).bits(round) & mask;
      const uint64_t next = left ^ f;
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= n);
  return value;
}

}  // namespace tessera
