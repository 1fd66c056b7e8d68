// The weighted vote against HPM's classifier (fixture knn_hpm) and against brute force.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "recipes/knn/vote.h"

namespace tessera::test {
namespace {

Tensor random_features(int64_t n, int64_t d, uint64_t sample) {
  const Tensor t({n, d}, DType::f32);
  const Philox random(1, Purpose::test, 0, sample);
  for (int64_t i = 0; i < n * d; ++i)
    t.data<float>()[i] = static_cast<float>(random.normal(static_cast<uint64_t>(i)));
  return t;
}

Tensor random_labels(int64_t n, uint32_t classes) {
  const Tensor t({n}, DType::i32);
  const Philox random(2, Purpose::test, 0, 0);
  for (int64_t i = 0; i < n; ++i)
    t.data<int32_t>()[i] = static_cast<int32_t>(random.below(static_cast<uint64_t>(i), classes));
  return t;
}

double dot(const Tensor& a, int64_t i, const Tensor& b, int64_t j) {
  double total = 0;
  for (int64_t k = 0; k < a.dim(1); ++k) {
    total += static_cast<double>(a.data<float>()[i * a.dim(1) + k]) *
             static_cast<double>(b.data<float>()[j * a.dim(1) + k]);
  }
  return total;
}

// Similarities must be the k largest in order, to f32's rounding, each that of its index.
void check_neighbours(const Tensor& train, const Tensor& test, const Neighbours& got, int64_t k) {
  int64_t wrong = 0;
  for (int64_t m = 0; m < test.dim(0); ++m) {
    std::vector<double> all;
    for (int64_t n = 0; n < train.dim(0); ++n) all.push_back(dot(test, m, train, n));
    std::vector<double> sorted = all;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (int64_t j = 0; j < k; ++j) {
      const double similarity = static_cast<double>(got.similarity.data<float>()[m * k + j]);
      const int64_t index = got.index.data<int32_t>()[m * k + j];
      wrong += std::fabs(similarity - sorted[static_cast<size_t>(j)]) > 1e-6 ? 1 : 0;
      wrong += std::fabs(similarity - all[static_cast<size_t>(index)]) > 1e-6 ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("recipes/knn: HPM's classifier") {
  const SafeTensors file = load_safetensors(std::string(TESSERA_SOURCE_DIR) +
                                            "/tests/golden/knn_hpm.safetensors");
  const Tensor& train = file.at("input.train_features");
  const Tensor& test = file.at("input.test_features");
  const Tensor train_labels = file.at("input.train_labels").to(DType::i32);
  const Tensor test_labels = file.at("input.test_labels").to(DType::i32);
  constexpr int64_t kClasses = 7;
  const Neighbours neighbours = nearest(unit_rows(train, "train"), unit_rows(test, "test"), 20);
  for (const auto& [k, temperature, tag] : std::vector<std::tuple<int64_t, double, std::string>>{
           {20, 0.07, "k20.T0.07"}, {10, 0.07, "k10.T0.07"}, {5, 0.2, "k5.T0.2"}}) {
    const Tensor got = votes(neighbours, train_labels, kClasses, k, temperature);
    const Tensor& want = file.at("out.probs." + tag);
    const int64_t* prediction = file.at("out.prediction." + tag).data<int64_t>();
    int64_t off = 0, other = 0, zero_vote = 0;
    for (int64_t m = 0; m < test.dim(0); ++m) {
      const float* row = got.data<float>() + m * kClasses;
      for (int64_t c = 0; c < kClasses; ++c) {
        const float reference = want.data<float>()[m * kClasses + c];
        off += std::fabs(row[c] - reference) > 2e-5f * reference ? 1 : 0;
      }
      other += std::max_element(row, row + kClasses) - row != prediction[m] ? 1 : 0;
      zero_vote += row[test_labels.data<int32_t>()[m]] == 0.0f ? 1 : 0;
    }
    INFO(tag);
    CHECK(off == 0);
    CHECK(other == 0);
    const std::vector<KnnScore> score = knn(train, train_labels, test, test_labels, kClasses,
                                            {{k}, temperature});
    REQUIRE(score.size() == 1);
    CHECK(score[0].k == k);
    CHECK(std::fabs(100 * score[0].top1 - file.at("out.top1." + tag).item()) < 1e-4);
    // The fifth place may go to any class without a vote: both may be off by the samples whose class has
    // none.
    const double room = 100.0 * static_cast<double>(zero_vote) / static_cast<double>(test.dim(0));
    CHECK(std::fabs(100 * score[0].top5 - file.at("out.top5." + tag).item()) <= room + 1e-4);
  }
}

TEST_CASE("recipes/knn: neighbours are those of brute force, whatever the tiles and threads") {
  const Tensor train = unit_rows(random_features(4500, 9, 0), "train");
  const Tensor test = unit_rows(random_features(1030, 9, 1), "test");
  const Neighbours got = nearest(train, test, 11);
  check_neighbours(train, test, got, 11);
  const int before = threads();
  set_threads(1);
  const Neighbours one = nearest(train, test, 11);
  set_threads(before);
  CHECK(std::equal(one.index.data<int32_t>(), one.index.data<int32_t>() + one.index.numel(),
                   got.index.data<int32_t>()));
}

TEST_CASE("recipes/knn: equal similarities go to the smaller index") {
  const Tensor train({9000, 2}, DType::f32), test({1, 2}, DType::f32);
  for (int64_t i = 0; i < 9000; ++i) {
    train.data<float>()[2 * i] = i % 3 == 0 ? 1.0f : 0.0f;
    train.data<float>()[2 * i + 1] = i % 3 == 0 ? 0.0f : 1.0f;
  }
  test.data<float>()[0] = 1.0f;
  test.data<float>()[1] = 0.0f;
  const Neighbours got = nearest(train, test, 3004);
  for (int64_t j = 0; j < 3000; ++j) REQUIRE(got.index.data<int32_t>()[j] == 3 * j);
  CHECK(got.index.data<int32_t>()[3000] == 1);
  CHECK(got.index.data<int32_t>()[3001] == 2);
  CHECK(got.index.data<int32_t>()[3002] == 4);
}

TEST_CASE("recipes/knn: several k in one pass equal one k each") {
  const Tensor train = random_features(300, 6, 0), test = random_features(80, 6, 1);
  const Tensor train_labels = random_labels(300, 5), test_labels = random_labels(80, 5);
  const std::vector<KnnScore> all = knn(train, train_labels, test, test_labels, 5, {{200, 3, 20}, 0.07});
  REQUIRE(all.size() == 3);
  for (const KnnScore& score : all) {
    const KnnScore alone = knn(train, train_labels, test, test_labels, 5, {{score.k}, 0.07})[0];
    CHECK(alone.top1 == score.top1);
    CHECK((alone.top5 == score.top5 || (score.k < 5 && std::isnan(alone.top5) && std::isnan(score.top5))));
  }
  CHECK(all[0].k == 3);
}

TEST_CASE("recipes/knn: wrong input is refused by name") {
  const Tensor features = random_features(8, 4, 0), labels = random_labels(8, 3);
  CHECK_THROWS_WITH_AS(knn(features, labels, features, labels, 3, {{9}, 0.07}),
                       "knn: k is 9, wanted 1 to 8, the number of training samples", Error);
  const Tensor broken = random_features(8, 4, 0);
  broken.data<float>()[21] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(knn(features, labels, broken, labels, 3, {{2}, 0.07}),
                       "knn: test features of sample 5 are not finite", Error);
  const Tensor strange = random_labels(8, 3);
  strange.data<int32_t>()[2] = 3;
  CHECK_THROWS_WITH_AS(knn(features, strange, features, labels, 3, {{2}, 0.07}),
                       "knn: label 3 of train sample 2 is outside [0, 3)", Error);
  CHECK_THROWS_AS(knn(features, labels, random_features(8, 5, 0), labels, 3, {{2}, 0.07}), Error);
  CHECK_THROWS_AS(knn(features, labels, features, labels, 3, {{}, 0.07}), Error);
  CHECK_THROWS_AS(knn(features, labels, features, labels, 3, {{2}, 0.0}), Error);
  const Tensor zero({1, 4}, DType::f32);
  std::fill(zero.data<float>(), zero.data<float>() + 4, 0.0f);
  CHECK(unit_rows(zero, "test").data<float>()[0] == 0.0f);  // the floor, not 0/0
}

}  // namespace tessera::test
