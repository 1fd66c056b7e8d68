// data/sampler: every epoch a permutation, ranks that share it out, positions reached at once.
#include "data/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

SamplerOptions options(int64_t size, int64_t batch) {
  SamplerOptions o;
  o.size = size;
  o.batch = batch;
  o.seed = 3;
  return o;
}

// Indices of batch `batch` of `epoch`.
std::vector<int64_t> batch_of(const Sampler& s, int64_t epoch, int64_t batch) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < s.count(batch); ++i) out.push_back(s.index(epoch, s.first_position(batch) + i));
  return out;
}

}  // namespace

TEST_CASE("data/sampler: an epoch is a permutation, each epoch and seed another one") {
  for (const int64_t size : {1, 2, 3, 17, 64, 1000}) {
    SamplerOptions o = options(size, 7);
    o.drop_last = false;
    std::set<std::vector<int64_t>> orders;
    for (const uint64_t seed : {3, 4}) {
      o.seed = seed;
      const Sampler s(o);
      for (int64_t epoch = 0; epoch < 3; ++epoch) {
        std::vector<int64_t> order;
        for (int64_t b = 0; b < s.batches_per_epoch(); ++b) {
          for (const int64_t i : batch_of(s, epoch, b)) order.push_back(i);
        }
        orders.insert(order);
        std::sort(order.begin(), order.end());
        REQUIRE(static_cast<int64_t>(order.size()) == size);
        for (int64_t i = 0; i < size; ++i) REQUIRE(order[static_cast<size_t>(i)] == i);
      }
    }
    if (size >= 17) CHECK(orders.size() == 6);
  }
}

TEST_CASE("data/sampler: no shuffle keeps the order") {
  SamplerOptions o = options(10, 4);
  o.shuffle = o.drop_last = false;
  const Sampler s(o);
  CHECK(s.batches_per_epoch() == 3);
  CHECK(batch_of(s, 5, 2) == std::vector<int64_t>{8, 9});
}

TEST_CASE("data/sampler: global batches are the same for any number of ranks and of accumulated batches") {
  const auto global = [](int world, int64_t multiple, int64_t step) {
    std::vector<int64_t> out;
    for (int64_t micro = 0; micro < multiple; ++micro) {
      for (int rank = 0; rank < world; ++rank) {
        SamplerOptions o = options(103, 24 / world / multiple);
        o.world = world;
        o.rank = rank;
        o.multiple = multiple;
        const Sampler s(o);
        CHECK(s.batches_per_epoch() == 4 * multiple);
        for (const int64_t i : batch_of(s, 1, step * multiple + micro)) out.push_back(i);
      }
    }
    return out;
  };
  for (int64_t step = 0; step < 4; ++step) {
    const std::vector<int64_t> one = global(1, 1, step);
    CHECK(one.size() == 24);
    CHECK(global(2, 1, step) == one);
    CHECK(global(4, 1, step) == one);
    CHECK(global(1, 3, step) == one);
    CHECK(global(2, 2, step) == one);
  }
}

TEST_CASE(
    "data/sampler: without drop_last every rank has the same number of batches, the last may be empty") {
  SamplerOptions o = options(9, 4);
  o.drop_last = false;
  o.world = 3;
  int64_t total = 0;
  for (o.rank = 0; o.rank < 3; ++o.rank) {
    const Sampler s(o);
    CHECK(s.batches_per_epoch() == 1);
    total += s.count(0);
    CHECK(s.count(0) == (o.rank == 2 ? 1 : 4));
  }
  CHECK(total == 9);
  o.size = 8;
  o.rank = 2;
  CHECK(Sampler(o).count(0) == 0);
}

TEST_CASE("data/sampler: options that make no sense are refused with the reason") {
  CHECK(contains(complaint(ErrorKind::config, [] { Sampler(options(0, 4)); }), "0 samples"));
  CHECK(contains(complaint(ErrorKind::config, [] { Sampler(options(5, 0)); }), "batch of 0"));
  CHECK(contains(complaint(ErrorKind::config, [] { Sampler(options(5, 6)); }), "use a smaller batch"));
  SamplerOptions o = options(5, 2);
  o.rank = 1;
  CHECK(contains(complaint(ErrorKind::config, [&] { Sampler{o}; }), "rank 1 of 1"));
  const Sampler s(options(5, 2));
  CHECK_THROWS_AS(s.first_position(2), Error);
  CHECK_THROWS_AS(s.index(0, 5), Error);
}

}  // namespace tessera::test
