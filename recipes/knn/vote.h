// k-NN classification by weighted vote (Wu et al. 2018 as in DINO; spec evaluation.md section 8): how good
// frozen features are, without training anything.
#pragma once

#include <vector>

#include "engine/tensor.h"

namespace tessera {

// Rows divided by their length (at least 1e-12). features [N,D] f32 or bf16; result [N,D] f32.
// Throws Error(data) naming `what` and the row if a feature is not finite.
Tensor unit_rows(const Tensor& features, const char* what);

// The k training rows of largest dot product with every test row, largest first; ties go to the smaller
// index.
struct Neighbours {
  Tensor index;       // [M,k] i32
  Tensor similarity;  // [M,k] f32
};

// train [N,D], test [M,D] f32, both from unit_rows. Works in tiles: memory beyond the result does not grow
// with N or M. Throws Error(config) if k is not in [1, N].
Neighbours nearest(const Tensor& train, const Tensor& test, int64_t k);

// votes[m,c] = sum of exp(similarity / temperature) over the first k neighbours of m whose label is c.
// [M,classes] f32. labels [N] i32 of the training rows. Throws Error(data) on a label outside [0, classes).
Tensor votes(const Neighbours& neighbours, const Tensor& labels, int64_t classes, int64_t k,
             double temperature);

struct KnnScore {
  int64_t k = 0;
  double top1 = 0;  // share of test rows, 0..1
  double top5 = 0;  // NaN when k < 5: too few voters to fill five places
};

struct KnnOptions {
  std::vector<int64_t> k{10, 20, 100, 200};
  double temperature = 0.07;
};

// One score per k. Classes rank by votes, equal votes by class number (classes without a vote have 0).
// train [N,D], test [M,D] f32 or bf16, as they come from the encoder; labels i32 [N] and [M], below
// `classes`.
std::vector<KnnScore> knn(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                          const Tensor& test_labels, int64_t classes, const KnnOptions& options = {});

}  // namespace tessera
