// Parity of linear probing (fixture linprobe_mae_lars): features of the frozen encoder, then the head and its
// optimiser.
#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/copy.h"
#include "models/vit.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/linear/linear.h"
#include "ops/mean_tokens/mean_tokens.h"
#include "ops/slice_tokens/slice_tokens.h"
#include "recipes/linear_probe/probe.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

// The class token after `norm`, or the mean of the patch tokens after `fc_norm`: [B, D] f32.
Tensor frozen_features(ParityFile& file, const Tensor& images) {
  const Options& o = file.config();
  const VitConfig config = read_vit(o, images.shape());
  const bool mean = o.flag("global_pool");
  ParamStore store(file.precision());
  const Vit vit(Scope(store), config, {.fixed_positions = false, .final_norm = !mean});
  std::optional<LayerNorm> fc_norm;
  if (mean) fc_norm.emplace(Scope(store) / "fc_norm", config.dim, config.eps);
  store.freeze(0);
  for (const Param& p : store.params()) store.assign(p, file.read("param." + p.name));
  store.changed();
  const NoGrad nothing_records;
  const Var tokens = vit(images, {}, {});
  const Var pooled = mean ? (*fc_norm)(mean_tokens(tokens, 1))
                          : slice_tokens(tokens, 0, 1).reshape({images.dim(0), config.dim});
  return pooled.value().to(DType::f32);
}

ProbeOptions read_optimizer(const Options& o) {
  ProbeOptions probe;
  const std::string type = o.text("type");
  if (type == "SGD") {
    probe.optimizer = ProbeOptions::Optimizer::sgd;
    if (o.has("nesterov") && o.flag("nesterov"))
      throw UnknownOption("parity: optimizer.nesterov = true is not known in linear probing");
  } else if (type == "LARS") {
    probe.trust = o.number("trust_coefficient");
  } else {
    throw UnknownOption("parity: optimizer.type = " + type + ", only LARS and SGD are known");
  }
  probe.momentum = o.number("momentum");
  probe.weight_decay = o.number("weight_decay");
  return probe;
}

Tensor training_logits(const ProbeHead& head, const ParamStore& params, const Tensor& features) {
  const NoGrad nothing_records;
  const Var x = batch_norm(Var(features), head.running_mean().clone(), head.running_var().clone(),
                           BatchNormMode::training);
  return linear(x, *params.find("head.1.weight"), *params.find("head.1.bias")).value();
}

void load_head(ProbeHead& head, ParityFile& file) {
  for (const Param& p : head.params().params()) head.params().assign(p, file.read("param." + p.name));
  head.params().changed();
  copy(head.running_mean(), file.read("param.head.0.running_mean"));
  copy(head.running_var(), file.read("param.head.0.running_var"));
  if (file.has("param.head.0.num_batches_tracked")) file.read("param.head.0.num_batches_tracked");
}

void compare_final(ProbeHead& head, ParityFile& file) {
  for (const std::string& name : file.names("final.")) {
    const Param* p = head.params().find(name);
    if (name == "head.0.running_mean") {
      file.final_value("final." + name, head.running_mean());
    } else if (name == "head.0.running_var") {
      file.final_value("final." + name, head.running_var());
    } else if (p != nullptr) {
      file.final_value("final." + name, p->master);
    } else {
      fail(ErrorKind::checkpoint, "parity: final.{} is no parameter of the head", name);
    }
  }
}

void run(ParityFile& file) {
  const Options& o = file.config();
  const Options optimizer = o.object("optimizer");
  const double lr = optimizer.number("lr");
  const ProbeOptions options = read_optimizer(optimizer);
  optimizer.require_all_read("optimizer.");
  o.require("bn_momentum", 0.1);
  if (!o.is_null("grad_clip_norm"))
    throw UnknownOption("parity: grad_clip_norm is not known in linear probing");

  const Tensor labels = file.read("input.labels").to(DType::i32);
  const Tensor features = frozen_features(file, file.read("input.images"));
  file.tensor("out.features", features);
  ProbeHead head(features.dim(1), o.integer("num_classes"), options);
  load_head(head, file);
  file.tensor("out.logits", training_logits(head, head.params(), features));
  file.loss("out.loss", head.backward(features, labels));
  compare_gradients(head.params(), file);
  const Tensor norm({1}, DType::f32);
  grad_norm(norm, head.params().grad(), 0, make_update_state());
  file.tensor("out.grad_norm", norm);
  file.tensor("out.eval_output", head.logits(features));

  std::vector<double> losses;
  const int64_t steps = o.integer("steps");
  if (file.read("after.loss").numel() != steps)
    fail(ErrorKind::checkpoint, "parity: after.loss does not hold {} losses", steps);
  for (int64_t i = 0; i < steps; ++i) {
    head.update(lr);
    losses.push_back(head.backward(features, labels));
  }
  file.losses("after.loss", losses);
  compare_final(head, file);
}

const RegisterParity registered({"linear_probe",
                                 [](const Options& o) { return o.text("case") == "linear_probe"; }, run});

}  // namespace
}  // namespace tessera
