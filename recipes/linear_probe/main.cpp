// linear_probe: a linear classifier on frozen features (spec evaluation.md section 6).
#include <fmt/format.h>

#include "recipes/linear_probe/probe.h"
#include "recipes/trainer/cli.h"
#include "recipes/trainer/evaluation.h"

namespace tessera {
namespace {

struct ProbeSettings {
  EvaluationSettings evaluation;
  ProbeOptions options;
  std::string optimizer = "lars";

  template <class V> void fields(V& v) {
    evaluation.fields(v);
    v("optimizer", optimizer, OneOf{"lars", "sgd"}, "MAE probes with LARS, HPM with SGD");
    v("blr", options.blr, Range::at_least(0), "lr = blr * batch / 256");
    v("batch", options.batch, Range::at_least(2), "features of one step");
    v("epochs", options.epochs, Range::at_least(1), "passes over the training features");
    v("warmup_epochs", options.warmup_epochs, Range::at_least(0), "linear warm-up");
    v("weight_decay", options.weight_decay, Range::at_least(0), "of the weight matrix");
  }
};

int run(ProbeSettings& s, const ConfigSources&, const Invocation&) {
  s.options.optimizer = s.optimizer == "lars" ? ProbeOptions::Optimizer::lars : ProbeOptions::Optimizer::sgd;
  s.options.seed = static_cast<uint64_t>(s.evaluation.seed);
  const Features f = evaluate_features(s.evaluation);
  print_to_stdout(fmt::format("{}; {} train, {} test, {} classes\n", f.description, f.train.labels.size(),
                              f.test.labels.size(), f.train.classes));
  const ProbeResult r = linear_probe(f.train.features, label_tensor(f.train.labels), f.test.features,
                                     label_tensor(f.test.labels), f.train.classes, s.options);
  print_to_stdout(fmt::format("top-1 {:.2f} %  top-5 {:.2f} %  (train loss {:.4f})\n", 100 * r.top1,
                              100 * r.top5, r.train_loss));
  return 0;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  using namespace tessera;
  return run_main(
      argc, argv, "linear_probe",
      {command<ProbeSettings>("", "Accuracy of a linear classifier on frozen features", run, Takes::preset)});
}
