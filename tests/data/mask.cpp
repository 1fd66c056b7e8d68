// data/mask: noise by address, and the number of patches kept.
#include "data/mask.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/random.h"
#include "tests/data/pictures.h"

namespace tessera::test {

TEST_CASE("data/mask: noise is addressed by step and sample, so a batch split in two gives the same") {
  const Tensor whole = random_noise(9, 4, 100, 6, 17);
  CHECK(whole.shape() == Shape{6, 17});
  const Tensor first = random_noise(9, 4, 100, 2, 17), second = random_noise(9, 4, 102, 4, 17);
  for (int64_t i = 0; i < 6 * 17; ++i) {
    const float value = whole.data<float>()[i];
    REQUIRE(value == (i < 34 ? first.data<float>()[i] : second.data<float>()[i - 34]));
    REQUIRE(value >= 0.0f);
    REQUIRE(value < 1.0f);
    REQUIRE(value == Philox(9, Purpose::mask, 4, static_cast<uint64_t>(100 + i / 17))
                         .uniform(static_cast<uint64_t>(i % 17)));
  }
  const Tensor other = random_noise(9, 5, 100, 6, 17);
  int equal = 0;
  for (int64_t i = 0; i < 6 * 17; ++i) equal += whole.data<float>()[i] == other.data<float>()[i];
  CHECK(equal < 3);
  CHECK(random_noise(9, 4, 0, 0, 17).numel() == 0);
}

TEST_CASE("data/mask: patches kept, as the reference truncates") {
  CHECK(kept(196, 0.75) == 49);
  CHECK(kept(256, 0.75) == 64);
  CHECK(kept(100, 0.9) == 9);  // 100 * (1 - 0.9) is just below 10 in double
  CHECK(kept(16, 0.75) == 4);
  CHECK(contains(complaint(ErrorKind::config, [] { kept(16, 0.95); }), "keeps none of 16"));
  CHECK(contains(complaint(ErrorKind::config, [] { kept(16, 0.0); }), "masks none of 16"));
  CHECK(contains(complaint(ErrorKind::config, [] { kept(16, 1.5); }), "between 0 and 1"));
  CHECK(contains(complaint(ErrorKind::config, [] { kept(16, std::nan("")); }), "between 0 and 1"));
}

}  // namespace tessera::test
