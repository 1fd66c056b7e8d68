// Tensors, memory, copies, parallel loops and random numbers.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "engine/copy.h"
#include "engine/device.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/simd.h"
#include "engine/tensor.h"

namespace tessera {

TEST_CASE("engine/tensor: handles share storage; wrong types, shapes and ranges are refused") {
  const Tensor t({4, 6}, DType::f32);
  for (int64_t i = 0; i < 24; ++i) t.data<float>()[i] = static_cast<float>(i);
  const Tensor rows = t.slice(1, 3);
  CHECK(rows.shape() == Shape{2, 6});
  CHECK(rows.data<float>()[0] == 6.0f);
  rows.data<float>()[0] = -1;
  CHECK(t.data<float>()[6] == -1.0f);
  CHECK(t.reshape({2, 12}).slice(1, 2).data<float>()[0] == 12.0f);
  CHECK_THROWS_WITH(t.data<int32_t>(), doctest::Contains("f32"));
  CHECK_THROWS_WITH(t.reshape({5, 5}), doctest::Contains("24 and 25"));
  CHECK_THROWS_WITH(t.slice(2, 5), doctest::Contains("[2, 5)"));
  CHECK_THROWS_AS(Shape({1, 2, 3, 4, 5, 6, 7}), Error);
  CHECK(reinterpret_cast<uintptr_t>(t.raw()) % 64 == 0);
  CHECK_THROWS_WITH(Tensor({2}, DType::f32, Device::cuda()), doctest::Contains("device=cpu"));
  CHECK_THROWS_AS(parse_device("gpu"), Error);
}

TEST_CASE("engine/dtype: bf16 and f16 round to nearest even") {
  CHECK(static_cast<float>(bf16(1.0f + 0x1p-8f)) == 1.0f);                // tie, even below
  CHECK(static_cast<float>(bf16(1.0f + 3 * 0x1p-8f)) == 1.0f + 0x1p-6f);  // tie, even above
  CHECK(static_cast<float>(bf16(1.0f + 0x1p-8f + 0x1p-20f)) == 1.0f + 0x1p-7f);
  CHECK(std::isnan(static_cast<float>(bf16(NAN))));
  CHECK(std::isinf(static_cast<float>(bf16(3.4e38f))));
  CHECK(static_cast<float>(f16(65504.0f)) == 65504.0f);
  // The vector conversion agrees with the scalar one, specials included.
  float in[kLanes] = {1.00390625f, -0.0f, INFINITY, -INFINITY, NAN, 3.4e38f, 1e-40f, 0.3f,
                      -7.7f,       1e10f, 2,        3,         4,   5,       6,      1.01171875f};
  bf16 out[kLanes];
  store(out, load(in));
  for (int i = 0; i < kLanes; ++i) CHECK(out[i].bits == bf16(in[i]).bits);
}

TEST_CASE("engine/memory: a freed block is reused, labels are counted, the limit is kept") {
  void* first;
  {
    const Tensor t({1000}, DType::f32, Device::cpu(), "label under test");
    first = t.raw();
    CHECK(memory::usage().now_by_label["label under test"] >= 4000);
  }
  CHECK(memory::usage().now_by_label["label under test"] == 0);
  CHECK(Tensor({1000}, DType::f32).raw() == first);
  const int64_t reserved = memory::usage().reserved;
  memory::set_limit(reserved + (64 << 20));
  CHECK_THROWS_WITH_AS(Tensor({int64_t{1} << 33}, DType::u8, Device::cpu(), "too much"),
                       doctest::Contains("too much"), Error);
  memory::set_limit(0);
}

TEST_CASE("engine/copy: cast, fill and accumulate") {
  const Tensor a({100'000}, DType::f32);
  fill(a, 1.5);
  const Tensor h = a.to(DType::bf16);
  accumulate(a, h);
  CHECK(a.data<float>()[99'999] == 3.0f);
  accumulate(h, a);
  CHECK(static_cast<float>(h.data<bf16>()[5]) == 4.5f);
  CHECK(a.to(DType::i32).data<int32_t>()[7] == 3);
  CHECK_THROWS_WITH(copy(a, Tensor({2}, DType::f32)), doctest::Contains("copy"));
  CHECK_THROWS_WITH(accumulate(a, Tensor({100'000}, DType::i32)), doctest::Contains("accumulate"));
}

TEST_CASE(
    "engine/parallel: ranges cover everything once; exceptions come back; sums do not depend on threads") {
  const int before = threads();
  double sums[3];
  for (int n : {1, 2, 4}) {
    set_threads(n);
    std::vector<std::atomic<int>> seen(1000);
    parallel_for(1000, 7, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    });
    for (auto& s : seen) CHECK(s == 1);
    sums[n / 2] = parallel_sum(100'000, 1000, [](int64_t begin, int64_t end) {
      double total = 0;
      for (int64_t i = begin; i < end; ++i) total += 1.0 / static_cast<double>(i + 1);
      return total;
    });
    CHECK_THROWS_AS(parallel_for(100, 1,
                                 [](int64_t begin, int64_t) {
                                   if (begin == 50) throw Error("planted");
                                 }),
                    Error);
  }
  CHECK(sums[0] == sums[1]);
  CHECK(sums[0] == sums[2]);
  CHECK_THROWS_AS(set_threads(0), Error);
  set_threads(before);
}

TEST_CASE("engine/random: known answers of philox4x32-10 (Random123's kat_vectors)") {
  using Words = std::array<uint32_t, 4>;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t f = 0xffffffff;
  CHECK(philox4x32({f, f, f, f}, {f, f}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("engine/random: uniform, normal, and a pure function of the address") {
  const Philox a(1, Purpose::mask, 2, 3);
  CHECK(a.bits(5) == Philox(1, Purpose::mask, 2, 3).bits(5));
  std::set<uint32_t> different = {a.bits(5),
                                  a.bits(6),
                                  Philox(2, Purpose::mask, 2, 3).bits(5),
                                  Philox(1, Purpose::crop, 2, 3).bits(5),
                                  Philox(1, Purpose::mask, 3, 3).bits(5),
                                  Philox(1, Purpose::mask, 2, 4).bits(5),
                                  Philox(1, Purpose::mask, 2 + (uint64_t{1} << 32), 3).bits(5),
                                  Philox(1, Purpose::mask, 2, 3 + (uint64_t{1} << 32)).bits(5)};
  CHECK(different.size() == 8);
  constexpr int n = 100'000;
  double mean = 0, square = 0, normal_mean = 0, normal_square = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const auto u = static_cast<double>(a.uniform(i));
    CHECK((u >= 0 && u < 1));
    mean += u / n;
    square += u * u / n;
    normal_mean += a.normal(i) / n;
    normal_square += a.normal(i) * a.normal(i) / n;
  }
  CHECK(mean == doctest::Approx(0.5).epsilon(0.01));
  CHECK(square == doctest::Approx(1.0 / 3).epsilon(0.01));
  CHECK(std::fabs(normal_mean) < 0.01);
  CHECK(normal_square == doctest::Approx(1).epsilon(0.02));
}

TEST_CASE("engine/random: shuffled is a permutation that depends on seed and epoch") {
  for (uint64_t n : {1ull, 2ull, 7ull, 64ull, 1000ull}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) seen.insert(shuffled(3, 1, i, n));
    CHECK(seen.size() == n);
    CHECK(*seen.rbegin() == n - 1);
  }
  int same = 0, in_place = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    same += shuffled(3, 1, i, 1000) == shuffled(3, 2, i, 1000);
    in_place += shuffled(3, 1, i, 1000) == i;
  }
  CHECK(same < 10);
  CHECK(in_place < 10);
}

TEST_CASE("engine/simd: exp over its range, tails, sums") {
  double worst = 0;
  for (float x = -87.0f; x < 88.0f; x += 0.0137f) {
    float in[kLanes], out[kLanes];
    for (float& e : in) e = x;
    store(out, exp(load(in)));
    const double want = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::fabs(static_cast<double>(out[3]) - want) / want);
  }
  CHECK(worst < 1.5e-7);
  float specials[kLanes] = {-INFINITY, INFINITY, NAN, 0.0f, -200.0f, 200.0f}, out[kLanes];
  store(out, exp(load(specials)));
  CHECK(out[0] == 0.0f);
  CHECK(std::isinf(out[1]));
  CHECK(std::isnan(out[2]));
  CHECK(out[3] == 1.0f);
  CHECK(out[4] == 0.0f);
  CHECK(std::isinf(out[5]));
  float line[40];
  for (int i = 0; i < 40; ++i) line[i] = static_cast<float>(i);
  f32x16 total;
  for_lanes(37, [&](int64_t i, int lanes) { total = total + load(line + i, lanes); });
  CHECK(sum(total) == 36.0f * 37 / 2);
}

}  // namespace tessera
