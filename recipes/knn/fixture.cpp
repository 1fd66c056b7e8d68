// Parity of the weighted vote (fixture knn_hpm): votes, predictions and accuracies for each k and
// temperature.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "engine/check.h"
#include "recipes/knn/vote.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

Tensor single(double value) {
  const Tensor t({1}, DType::f64);
  *t.data<double>() = value;
  return t;
}

Tensor predictions(const Tensor& votes) {
  const int64_t classes = votes.dim(1);
  const Tensor best({votes.dim(0)}, DType::i64);
  for (int64_t m = 0; m < votes.dim(0); ++m) {
    const float* row = votes.data<float>() + m * classes;
    best.data<int64_t>()[m] = std::max_element(row, row + classes) - row;
  }
  return best;
}

// Test rows whose label is among the first `places` classes by votes, and those where that is undecided:
// classes without a vote share the places that are left, and the official sort orders them as it likes.
struct Places {
  int64_t within = 0, undecided = 0;
};
Places count_places(const Tensor& votes, const Tensor& labels, int64_t places) {
  Places count;
  const int64_t classes = votes.dim(1);
  for (int64_t m = 0; m < votes.dim(0); ++m) {
    const float* row = votes.data<float>() + m * classes;
    const float mine = row[labels.data<int32_t>()[m]];
    const int64_t above = std::count_if(row, row + classes, [&](float v) { return v > mine; });
    if (above >= places) continue;
    ++(mine > 0 ? count.within : count.undecided);
  }
  return count;
}

// How the file writes a setting: ".k20.T0.07".
std::string tag_of(const ParityFile& file, int64_t k, double temperature) {
  const std::string stem = fmt::format(".k{}.T", k);
  for (const std::string& number : file.names("out.probs" + stem)) {
    char* rest = nullptr;
    if (std::strtod(number.c_str(), &rest) == temperature && *rest == '\0') return stem + number;
  }
  fail(ErrorKind::checkpoint, "parity: no out.probs for k = {}, temperature {}", k, temperature);
}

void run(ParityFile& file) {
  const Options& o = file.config();
  const Tensor train = file.read("input.train_features"), test = file.read("input.test_features");
  const Tensor train_labels = file.read("input.train_labels").to(DType::i32);
  const Tensor test_labels = file.read("input.test_labels").to(DType::i32);
  const int64_t classes = o.integer("num_classes");
  o.require("train", static_cast<double>(train.dim(0)));
  o.require("test", static_cast<double>(test.dim(0)));
  o.require("dim", static_cast<double>(train.dim(1)));
  const auto percent = [&](double rows) { return 100 * rows / static_cast<double>(test.dim(0)); };
  for (const std::vector<double>& setting : o.tuples("settings")) {
    if (setting.size() != 2) throw UnknownOption("parity: settings must be pairs of k and temperature");
    const auto k = static_cast<int64_t>(setting[0]);
    const std::string tag = tag_of(file, k, setting[1]);
    const Neighbours neighbours = nearest(unit_rows(train, "train"), unit_rows(test, "test"), k);
    const Tensor got = votes(neighbours, train_labels, classes, k, setting[1]);
    file.within("out.probs" + tag, got, 0, 0, 2e-5);
    file.exact("out.prediction" + tag, predictions(got));
    const KnnScore score = knn(train, train_labels, test, test_labels, classes, {{k}, setting[1]})[0];
    file.within("out.top1" + tag, single(100 * score.top1), 1e-4, 0);
    const Places five = count_places(got, test_labels, std::min<int64_t>(5, k));
    const double undecided = percent(static_cast<double>(five.undecided));
    file.within("out.top5" + tag, single(percent(static_cast<double>(five.within)) + undecided / 2),
                undecided / 2 + 1e-4, 0);
  }
}

const RegisterParity registered({"knn", [](const Options& o) { return o.text("case") == "knn"; }, run});

}  // namespace
}  // namespace tessera
