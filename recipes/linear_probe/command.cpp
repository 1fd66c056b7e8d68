// What linear_probe does with its settings.
#include "recipes/linear_probe/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "recipes/linear_probe/probe.h"
#include "recipes/trainer/evaluation.h"

namespace tessera {
namespace {

struct ProbeSettings {
  EvaluationSettings evaluation;
  ProbeOptions options;
  std::string optimizer = "lars";
  bool augment = true;

  template <class V> void fields(V& v) {
    evaluation.fields(v);
    v("optimizer", optimizer, OneOf{"lars", "sgd"}, "MAE probes with LARS, HPM with SGD");
    v("augment", augment,
      "crop and flip training pictures anew every epoch; false: features once, much faster");
    v("blr", options.blr, Range::at_least(0), "lr = blr * batch / 256");
    v("batch", options.batch, Range{2, 1e6}, "features of one step");
    v("epochs", options.epochs, Range{1, 1e6}, "passes over the training features");
    v("warmup_epochs", options.warmup_epochs, Range::at_least(0), "linear warm-up");
    v("weight_decay", options.weight_decay, Range::at_least(0), "of the weight matrix");
  }
};

int run(ProbeSettings& s, const ConfigSources&, const Invocation&) {
  s.options.optimizer = s.optimizer == "lars" ? ProbeOptions::Optimizer::lars : ProbeOptions::Optimizer::sgd;
  s.options.seed = static_cast<uint64_t>(s.evaluation.seed);
  const Evaluation evaluation(s.evaluation);
  const EvaluationData& data = s.evaluation.data;
  const FeatureSet test = evaluation.features(data.test);
  print_to_stdout(fmt::format("{}, {} wide; {} test, {} classes\n", evaluation.description(),
                              test.features.dim(1), test.labels.size(), test.classes));
  const Tensor test_labels = label_tensor(test.labels);
  ProbeResult r;
  if (s.augment) {
    const int64_t pictures = open_dataset(data.train)->size();
    s.options.batch = std::min(s.options.batch, pictures);
    const std::unique_ptr<Loader> loader = evaluation.augmented(data.train, s.options.batch);
    r = linear_probe(
        [&](int64_t, int64_t) {
          const Batch batch = loader->next();
          return ProbeBatch{evaluation.features(batch), label_tensor(batch.labels)};
        },
        pictures, test.features, test_labels, test.classes, s.options);
  } else {
    const FeatureSet train = evaluation.features(data.train);
    require_same_classes(train, test);
    r = linear_probe(train.features, label_tensor(train.labels), test.features, test_labels, test.classes,
                     s.options);
  }
  print_to_stdout(fmt::format("top-1 {:.2f} %  top-5 {:.2f} %  (train loss {:.4f})\n", 100 * r.top1,
                              100 * r.top5, r.train_loss));
  return 0;
}

}  // namespace

std::vector<Command> linear_probe_commands() {
  return {
      command<ProbeSettings>("", "Accuracy of a linear classifier on frozen features", run, Takes::preset)};
}

}  // namespace tessera
