// Cases of ops/batch_norm. Inputs: x, running mean, running variance; outputs: y and the running statistics
// afterwards.
#include "ops/batch_norm/batch_norm.h"

#include <cmath>

#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

constexpr double kEps = static_cast<double>(1e-6f), kMomentum = static_cast<double>(0.1f);

Vars call(const Vars& in, DType) {
  return {batch_norm(in[0], in[1].value().clone(), in[2].value().clone(), BatchNormMode::training)};
}
Vars call_evaluation(const Vars& in, DType) {
  return {batch_norm(in[0], in[1].value(), in[2].value(), BatchNormMode::evaluation)};
}
Vars call_running(const Vars& in, DType) {
  const Tensor mean = in[1].value().clone(), var = in[2].value().clone();
  batch_norm(in[0], mean, var, BatchNormMode::training);
  return {Var(mean), Var(var)};
}

// Column d's mean and sum of squared deviations.
void column(const Array& x, int64_t d, double* mean, double* squares) {
  const int64_t rows = x.dim(0), width = x.dim(1);
  *mean = *squares = 0;
  for (int64_t r = 0; r < rows; ++r) *mean += x[r * width + d] / static_cast<double>(rows);
  for (int64_t r = 0; r < rows; ++r) *squares += std::pow(x[r * width + d] - *mean, 2);
}

Arrays reference(const Arrays& in) {
  const int64_t rows = in[0].dim(0), width = in[0].dim(1);
  Array y(in[0].shape);
  for (int64_t d = 0; d < width; ++d) {
    double mean = 0, squares = 0;
    column(in[0], d, &mean, &squares);
    const double deviation = std::sqrt(squares / static_cast<double>(rows) + kEps);
    for (int64_t r = 0; r < rows; ++r) y[r * width + d] = (in[0][r * width + d] - mean) / deviation;
  }
  return {y};
}

Arrays evaluation(const Arrays& in) {
  const int64_t rows = in[0].dim(0), width = in[0].dim(1);
  Array y(in[0].shape);
  for (int64_t i = 0; i < rows * width; ++i) {
    y[i] = (in[0][i] - in[1][i % width]) / std::sqrt(in[2][i % width] + kEps);
  }
  return {y};
}

Arrays running(const Arrays& in) {
  const int64_t rows = in[0].dim(0), width = in[0].dim(1);
  Array moved_mean(in[1].shape), moved_var(in[2].shape);
  for (int64_t d = 0; d < width; ++d) {
    double mean = 0, squares = 0;
    column(in[0], d, &mean, &squares);
    moved_mean[d] = (1 - kMomentum) * in[1][d] + kMomentum * mean;
    moved_var[d] = (1 - kMomentum) * in[2][d] + kMomentum * squares / static_cast<double>(rows - 1);
  }
  return {moved_mean, moved_var};
}

In variances(int64_t d) {
  return fixed({d}).filled([](int64_t i) { return 0.2 + 0.1 * static_cast<double>(i % 13); });
}
In distant(Shape shape) {  // ten deviations from zero: the difference of mean squares would lose two digits
  return vector(shape).filled([](int64_t i) { return 3.0 + static_cast<double>((i * 37) % 101) / 101.0; });
}
Tensor f32(Shape s) { return make_tensor(fixed(s), DType::f32, 1); }
Var samples(int64_t b) { return Var(f32({b, 4})); }

}  // namespace

OPS("batch_norm") {
  op.add({"training", {activation({9, 24}), fixed({24}), variances(24)}, call, reference});
  op.add({"training, tail", {activation({5, 37}), fixed({37}), variances(37)}, call, reference});
  op.add({"training, many rows", {activation({300, 20}), fixed({20}), variances(20)}, call, reference});
  Case far{"training, far from zero", {distant({70, 18}), fixed({18}), variances(18)}, call, reference};
  far.bf16 = false;
  op.add(far);
  op.add({"evaluation", {activation({7, 20}), fixed({20}), variances(20)}, call_evaluation, evaluation});
  Case one{
      "evaluation, one sample", {activation({1, 5}), fixed({5}), variances(5)}, call_evaluation, evaluation};
  op.add(one);
  Case statistics{
      "running statistics", {activation({67, 37}), fixed({37}), variances(37)}, call_running, running};
  statistics.gradient = false;
  op.add(statistics);
  op.reject("training on one sample",
            [] { batch_norm(samples(1), f32({4}), f32({4}), BatchNormMode::training); });
  op.reject("running mean of another width",
            [] { batch_norm(samples(2), f32({3}), f32({4}), BatchNormMode::training); });
  op.reject("bf16 variance",
            [] { batch_norm(samples(2), f32({4}), f32({4}).to(DType::bf16), BatchNormMode::training); });
  op.reject("rank 3", [] { batch_norm(Var(f32({2, 2, 4})), f32({4}), f32({4}), BatchNormMode::training); });
  op.bench({"probe, 16384 x 192",
            {activation({16384, 192}), fixed({192}), variances(192)},
            call,
            16384.0 * 192 * 16});
}

}  // namespace tessera::test
