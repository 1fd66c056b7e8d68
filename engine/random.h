// Random numbers by address, never consumed: Philox-4x32-10 (Salmon et al., SC 2011) of (seed, purpose, step
// or epoch, sample, element). The same on every device, thread, worker and in recomputation.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace tessera {

// What the numbers are for; part of the address. Append only: a changed value changes every run.
enum class Purpose : uint32_t {
  init = 1,     // initial weights; step = hash(parameter name), sample 0
  shuffle = 2,  // order of an epoch; step = epoch
  crop = 3,     // random resized crop; step = epoch, sample = index in the data set
  flip = 4,
  mask = 5,        // masking noise; step = optimiser step, sample = position in the global batch
  drop_path = 6,   // element = 2 * block + branch
  substitute = 7,  // which sample stands in for a broken one
  synthetic = 8,   // pictures made for tests and bench
  test = 9,
  probe = 10,  // linear-probe augmentation and head
  label_budget = 11,
};

// The bijection itself: ten rounds on a 128-bit counter under a 64-bit key.
inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

class Philox {
 public:
  // step < 2^48, sample < 2^48.
  Philox(uint64_t seed, Purpose purpose, uint64_t step, uint64_t sample) {
    const uint64_t key = mix(seed + 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(purpose));
    key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
    step_ = static_cast<uint32_t>(step);
    sample_ = static_cast<uint32_t>(sample);
    high_ = static_cast<uint32_t>((step >> 32) & 0xffff) |
            (static_cast<uint32_t>((sample >> 32) & 0xffff) << 16);
  }

  // Four words of block `block`.
  std::array<uint32_t, 4> block(uint32_t block) const {
    return philox4x32({block, step_, sample_, high_}, key_);
  }
  // 32 random bits of element `i` (i < 2^34).
  uint32_t bits(uint64_t i) const { return block(static_cast<uint32_t>(i >> 2))[i & 3]; }
  // Uniform in [0, 1): a multiple of 2^-24.
  float uniform(uint64_t i) const { return static_cast<float>(bits(i) >> 8) * 0x1p-24f; }
  double uniform(uint64_t i, double low, double high) const {
    return low + (high - low) * static_cast<double>(uniform(i));
  }
  // Uniform integer in [0, n), n >= 1.
  uint32_t below(uint64_t i, uint32_t n) const {
    return static_cast<uint32_t>((uint64_t{bits(i)} * n) >> 32);
  }
  // Standard normal of element i, by Box-Muller from the two words of its half-block, in double.
  double normal(uint64_t i) const {
    const auto w = block(static_cast<uint32_t>(i >> 1));
    const size_t at = (i & 1) * 2;
    const double u = (static_cast<double>(w[at]) + 0.5) * 0x1p-32;
    const double v = static_cast<double>(w[at + 1]) * 0x1p-32;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
  }

 private:
  static constexpr uint64_t mix(uint64_t z) {  // splitmix64's finaliser
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::array<uint32_t, 2> key_{};
  uint32_t step_ = 0, sample_ = 0, high_ = 0;
};

// FNV-1a of a name folded to 48 bits: the `step` of Purpose::init.
constexpr uint64_t name_address(std::string_view name) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return (h ^ (h >> 48)) & 0xffffffffffffull;
}

// Position `i` of a keyed permutation of [0, n): a Feistel network with cycle walking. O(1) memory, any
// position reachable.
uint64_t shuffled(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n);

}  // namespace tessera
