// CPU half of argsort_rows: rows in parallel, each sorted as 64-bit integers that hold value and position.
#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/check.h"
#include "engine/parallel.h"
#include "ops/argsort_rows/kernels.h"

namespace tessera {
namespace {

// Integers that order like the floats they come from. Adding 0 turns -0 into 0.
uint32_t ordered_bits(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x + 0.0f);
  return (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
}

void sort_row(int32_t* shuffle, int32_t* restore, int64_t* keys, const float* noise, int64_t row, int64_t l) {
  for (int64_t n = 0; n < l; ++n) {
    TS_CHECK(!std::isnan(noise[n]), "argsort_rows: noise[{}, {}] is NaN", row, n);
    // The sign bit is flipped once more because the keys are signed; positions make equal values distinct,
    // hence stable.
    const uint64_t key = (uint64_t{ordered_bits(noise[n]) ^ 0x80000000u} << 32) | static_cast<uint64_t>(n);
    keys[n] = std::bit_cast<int64_t>(key);
  }
  std::sort(keys, keys + l);
  for (int64_t j = 0; j < l; ++j) {
    const int32_t n = static_cast<int32_t>(keys[j] & 0x7fffffff);
    shuffle[j] = n;
    restore[n] = static_cast<int32_t>(j);
  }
}

void forward(const Tensor& shuffle, const Tensor& restore, const Tensor& noise) {
  const int64_t b = noise.dim(0), l = noise.dim(1);
  const Tensor keys({b, l}, DType::i64, Device::cpu(), "workspace");
  int32_t *ps = shuffle.data<int32_t>(), *pr = restore.data<int32_t>();
  int64_t* pk = keys.data<int64_t>();
  const float* px = noise.data<float>();
  parallel_for(b, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) sort_row(ps + r * l, pr + r * l, pk + r * l, px + r * l, r, l);
  });
}

}  // namespace

const ArgsortRowsKernels argsort_rows_cpu{forward};

}  // namespace tessera
