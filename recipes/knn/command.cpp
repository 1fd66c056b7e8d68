// What knn does with its settings.
#include "recipes/knn/command.h"

#include <fmt/format.h>

#include <cmath>

#include "recipes/knn/vote.h"
#include "recipes/trainer/evaluation.h"

namespace tessera {
namespace {

struct KnnSettings {
  EvaluationSettings evaluation;
  KnnOptions options;

  template <class V> void fields(V& v) {
    evaluation.fields(v);
    v("k", options.k, Range{1, 1e6}, "neighbours that vote; one score each");
    v("temperature", options.temperature, Range::above(0), "a vote weighs exp(similarity / temperature)");
  }
};

int run(KnnSettings& s, const ConfigSources&, const Invocation&) {
  const Evaluation evaluation(s.evaluation);
  const FeatureSet train = evaluation.features(s.evaluation.data.train);
  const FeatureSet test = evaluation.features(s.evaluation.data.test);
  require_same_classes(train, test);
  print_to_stdout(fmt::format("{}, {} wide; {} train, {} test, {} classes\n", evaluation.description(),
                              train.features.dim(1), train.labels.size(), test.labels.size(), train.classes));
  for (const KnnScore& score : knn(train.features, label_tensor(train.labels), test.features,
                                   label_tensor(test.labels), train.classes, s.options)) {
    const std::string top5 = std::isnan(score.top5) ? "" : fmt::format("  top-5 {:.2f} %", 100 * score.top5);
    print_to_stdout(fmt::format("k {:<4} top-1 {:.2f} %{}\n", score.k, 100 * score.top1, top5));
  }
  return 0;
}

}  // namespace

std::vector<Command> knn_commands() {
  return {command<KnnSettings>("", "Accuracy of a weighted k-nearest-neighbour vote on features", run,
                               Takes::preset)};
}

}  // namespace tessera
