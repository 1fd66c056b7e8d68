// The optimiser steps of a fixture, run with the trainer's own Optimizer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/check.h"
#include "recipes/trainer/optimizer.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

// The groups of a fine-tuning fixture say rate and decay per parameter: they must be what the store itself
// derives.
void check_groups(const Options& optimizer, ParamStore& store, double lr, double decay, double layer_decay) {
  int deepest = 0;
  for (const Param& p : store.params()) deepest = std::max(deepest, p.depth);
  for (const Options& group : optimizer.objects("groups")) {
    const double rate = group.number("lr"), wd = group.number("weight_decay");
    group.ignore({"lr_scale", "layer_decay", "layer_id", "params"});
    for (const std::string& name : group.texts("params")) {
      const Param* p = store.find(name);
      if (p == nullptr)
        fail(ErrorKind::checkpoint, "parity: group names {}, which the model does not have", name);
      const double ours = lr * std::pow(layer_decay, deepest - p->depth);
      if (std::fabs(ours - rate) > 1e-9 * rate || (p->decay ? decay : 0.0) != wd) {
        throw UnknownOption(fmt::format("parity: {} has rate {} and decay {}, the file says {} and {}", name,
                                        ours, p->decay ? decay : 0.0, rate, wd));
      }
    }
  }
}

}  // namespace

void train_and_compare(ParamStore& store, ParityFile& file, const std::function<double()>& loss) {
  const Options& o = file.config();
  const Options optimizer = o.object("optimizer");
  optimizer.require("type", "AdamW");
  const std::vector<double> betas = optimizer.numbers("betas");
  if (betas.size() != 2) throw UnknownOption("parity: optimizer.betas must be two numbers");
  const double lr = optimizer.number("lr"), decay = optimizer.number("weight_decay");
  const double layer_decay = optimizer.is_null("layer_decay") ? 1.0 : optimizer.number("layer_decay");
  if (optimizer.is_text("groups")) {
    optimizer.ignore({"groups"});  // says in words what Param::decay holds
  } else {
    check_groups(optimizer, store, lr, decay, layer_decay);
  }
  Optimizer adamw(store, {betas[0], betas[1], optimizer.number("eps"), decay}, layer_decay);
  optimizer.require_all_read("optimizer.");
  const double max_norm = o.is_null("grad_clip_norm") ? 0 : o.number("grad_clip_norm");

  std::vector<double> losses;
  const int64_t steps = o.integer("steps");
  if (file.read("after.loss").numel() != steps)
    fail(ErrorKind::checkpoint, "parity: after.loss does not hold {} losses", steps);
  for (int64_t i = 0; i < steps; ++i) {
    adamw.step(lr, max_norm);
    if (i == 0) {
      const Tensor norm({1}, DType::f32);
      *norm.data<float>() = static_cast<float>(adamw.grad_norm());
      file.tensor("out.grad_norm", norm);
    }
    losses.push_back(loss());
  }
  file.losses("after.loss", losses);
  for (const std::string& name : file.names("final.")) {
    const Param* p = store.find(name);
    if (p == nullptr) fail(ErrorKind::checkpoint, "parity: final.{} is no parameter of the model", name);
    file.final_value("final." + name, p->master);
  }
}

}  // namespace tessera
