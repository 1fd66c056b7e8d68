#include "recipes/knn/vote.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "engine/check.h"
#include "engine/gemm.h"
#include "engine/parallel.h"
#include "engine/slab.h"

namespace tessera {
namespace {

// A tile of similarities is 16 MB: it stays in a last-level cache between the product and the scan.
constexpr int64_t kTestTile = 1024, kTrainTile = 4096;

// Candidates of one test row. Keys order by similarity, then by smaller index; only the best k matter, so the
// list is cut back to them whenever it reaches twice k. Similarities at or below `floor` can no longer enter.
struct Candidates {
  uint64_t* keys;
  int64_t count = 0;
  float floor = -std::numeric_limits<float>::infinity();
};

uint64_t key_of(float similarity, int64_t index) {
  const uint32_t u = std::bit_cast<uint32_t>(similarity + 0.0f);
  const uint32_t ordered = (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
  return (uint64_t{ordered} << 32) | (0xffffffffu - static_cast<uint32_t>(index));
}
int32_t index_of(uint64_t key) { return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key)); }
float similarity_of(uint64_t key) {
  const uint32_t ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

void cut(Candidates& c, int64_t k) {
  std::nth_element(c.keys, c.keys + k - 1, c.keys + c.count, std::greater<>());
  c.count = k;
  // Rows are visited in ascending index, so an equal similarity that comes later loses: strictly above is
  // enough.
  c.floor = similarity_of(c.keys[k - 1]);
}

// Similarities of training rows [first, first + n) to one test row.
void scan(Candidates& c, const float* similarity, int64_t n, int64_t first, int64_t k) {
  constexpr int64_t kBlock = 64;  // a block without a candidate costs one comparison of its maximum
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t end = std::min(i + kBlock, n);
    bool any = false;
    for (int64_t j = i; j < end; ++j) any |= similarity[j] > c.floor;
    if (!any) continue;
    for (int64_t j = i; j < end; ++j) {
      if (!(similarity[j] > c.floor)) continue;
      c.keys[c.count++] = key_of(similarity[j], first + j);
      if (c.count == 2 * k) cut(c, k);
    }
  }
}

void check_labels(const Tensor& labels, int64_t rows, int64_t classes, const char* what) {
  TS_CHECK(labels.shape() == Shape({rows}) && labels.dtype() == DType::i32,
           "knn: {} labels are {} {}, wanted [{}] i32", what, labels.shape().str(), name(labels.dtype()),
           rows);
  const int32_t* p = labels.data<int32_t>();
  for (int64_t i = 0; i < rows; ++i) {
    if (p[i] < 0 || p[i] >= classes)
      fail(ErrorKind::data, "knn: label {} of {} sample {} is outside [0, {})", p[i], what, i, classes);
  }
}

// Adds the votes of neighbours [from, to) of row m.
void add_votes(double* out, const Neighbours& neighbours, const int32_t* labels, int64_t m, int64_t from,
               int64_t to, double temperature) {
  const int64_t width = neighbours.index.dim(1);
  const int32_t* index = neighbours.index.data<int32_t>() + m * width;
  const float* similarity = neighbours.similarity.data<float>() + m * width;
  for (int64_t j = from; j < to; ++j)
    out[labels[index[j]]] += std::exp(static_cast<double>(similarity[j]) / temperature);
}

// Number of classes that come before `label`.
int64_t rank_of(const double* votes, int64_t classes, int64_t label) {
  int64_t before = 0;
  for (int64_t c = 0; c < classes; ++c) {
    before += votes[c] > votes[label] || (votes[c] == votes[label] && c < label) ? 1 : 0;
  }
  return before;
}

}  // namespace

Tensor unit_rows(const Tensor& features, const char* what) {
  TS_CHECK(features.rank() == 2, "knn: {} features are {}, wanted [N,D]", what, features.shape().str());
  const Tensor unit = features.dtype() == DType::f32 ? features.clone("features") : features.to(DType::f32);
  const int64_t n = unit.dim(0), d = unit.dim(1);
  float* p = unit.data<float>();
  parallel_for(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const double squares = sum_of_squares(p + r * d, d);
      if (!std::isfinite(squares))
        fail(ErrorKind::data, "knn: {} features of sample {} are not finite", what, r);
      const float length = static_cast<float>(std::max(std::sqrt(squares), 1e-12));
      for (int64_t i = 0; i < d; ++i) p[r * d + i] /= length;
    }
  });
  return unit;
}

Neighbours nearest(const Tensor& train, const Tensor& test, int64_t k) {
  TS_CHECK(train.rank() == 2 && test.rank() == 2 && train.dim(1) == test.dim(1),
           "knn: train features are {}, test features {}", train.shape().str(), test.shape().str());
  const int64_t n = train.dim(0), m = test.dim(0);
  if (k < 1 || k > n)
    fail(ErrorKind::config, "knn: k is {}, wanted 1 to {}, the number of training samples", k, n);
  const Neighbours result{Tensor({m, k}, DType::i32), Tensor({m, k}, DType::f32)};
  const Tensor tile({std::min(m, kTestTile) * std::min(n, kTrainTile)}, DType::f32, Device::cpu(),
                    "workspace");
  const Tensor keys({std::min(m, kTestTile), 2 * k}, DType::i64, Device::cpu(), "workspace");
  std::vector<Candidates> candidates(static_cast<size_t>(keys.dim(0)));
  for (int64_t m0 = 0; m0 < m; m0 += kTestTile) {
    const int64_t rows = std::min(kTestTile, m - m0);
    for (int64_t r = 0; r < rows; ++r) {
      candidates[static_cast<size_t>(r)] = {reinterpret_cast<uint64_t*>(keys.data<int64_t>()) + r * 2 * k};
    }
    for (int64_t n0 = 0; n0 < n; n0 += kTrainTile) {
      const int64_t columns = std::min(kTrainTile, n - n0);
      const Tensor y = tile.slice(0, rows * columns).reshape({rows, columns});
      gemm::forward(y, test.slice(m0, m0 + rows), train.slice(n0, n0 + columns), {});
      const float* py = y.data<float>();
      parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          scan(candidates[static_cast<size_t>(r)], py + r * columns, columns, n0, k);
      });
    }
    parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        Candidates& c = candidates[static_cast<size_t>(r)];
        std::sort(c.keys, c.keys + c.count, std::greater<>());
        for (int64_t j = 0; j < k; ++j) {
          result.index.data<int32_t>()[(m0 + r) * k + j] = index_of(c.keys[j]);
          result.similarity.data<float>()[(m0 + r) * k + j] = similarity_of(c.keys[j]);
        }
      }
    });
  }
  return result;
}

Tensor votes(const Neighbours& neighbours, const Tensor& labels, int64_t classes, int64_t k,
             double temperature) {
  const int64_t m = neighbours.index.dim(0);
  TS_CHECK(k >= 1 && k <= neighbours.index.dim(1), "knn: {} neighbours were sought, {} shall vote",
           neighbours.index.dim(1), k);
  check_labels(labels, labels.numel(), classes, "train");
  const Tensor out({m, classes}, DType::f32);
  parallel_for(m, 64, [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(classes));
    for (int64_t r = begin; r < end; ++r) {
      std::fill(row.begin(), row.end(), 0.0);
      add_votes(row.data(), neighbours, labels.data<int32_t>(), r, 0, k, temperature);
      for (int64_t c = 0; c < classes; ++c) {
        out.data<float>()[r * classes + c] = static_cast<float>(row[static_cast<size_t>(c)]);
      }
    }
  });
  return out;
}

std::vector<KnnScore> knn(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                          const Tensor& test_labels, int64_t classes, const KnnOptions& options) {
  const int64_t m = test.dim(0);
  if (options.k.empty()) fail(ErrorKind::config, "knn: no k is given");
  if (!(options.temperature > 0))
    fail(ErrorKind::config, "knn: temperature is {}, wanted above 0", options.temperature);
  if (m < 1) fail(ErrorKind::data, "knn: no test sample");
  check_labels(train_labels, train.dim(0), classes, "train");
  check_labels(test_labels, m, classes, "test");
  std::vector<int64_t> ks = options.k;
  std::sort(ks.begin(), ks.end());
  const int64_t count = std::ssize(ks);
  const Neighbours neighbours = nearest(unit_rows(train, "train"), unit_rows(test, "test"), ks.back());

  // Ranks of the true class, one pass over the neighbours per row: each k adds its votes to those of the k
  // before.
  const Tensor ranks({m, count}, DType::i64);
  parallel_for(m, 64, [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(classes));
    for (int64_t r = begin; r < end; ++r) {
      std::fill(row.begin(), row.end(), 0.0);
      int64_t from = 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t k = ks[static_cast<size_t>(i)];
        add_votes(row.data(), neighbours, train_labels.data<int32_t>(), r, from, k, options.temperature);
        from = k;
        ranks.data<int64_t>()[r * count + i] = rank_of(row.data(), classes, test_labels.data<int32_t>()[r]);
      }
    }
  });
  std::vector<KnnScore> scores;
  for (int64_t i = 0; i < count; ++i) {
    int64_t first = 0, five = 0;
    for (int64_t r = 0; r < m; ++r) {
      first += ranks.data<int64_t>()[r * count + i] < 1 ? 1 : 0;
      five += ranks.data<int64_t>()[r * count + i] < 5 ? 1 : 0;
    }
    const double share = 1.0 / static_cast<double>(m);
    const int64_t k = ks[static_cast<size_t>(i)];
    scores.push_back({k, static_cast<double>(first) * share,
                      k >= 5 ? static_cast<double>(five) * share : std::numeric_limits<double>::quiet_NaN()});
  }
  return scores;
}

}  // namespace tessera
