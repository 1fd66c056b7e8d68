// Parity of the optimisers on given gradients (fixtures opt_*): AdamW, LARS and SGD step by step, and the
// clip by norm.
#include <fmt/format.h>

#include <cstdlib>
#include <functional>

#include "engine/check.h"
#include "engine/copy.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/lars/lars.h"
#include "ops/sgd/sgd.h"
#include "recipes/trainer/optimizer.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

// Weight decay: a number, of every tensor; or "0.05 for ndim>1 else 0".
struct DecayRule {
  double value = 0;
  bool matrices_only = false;
};

DecayRule read_decay(const Options& o) {
  if (!o.is_text("weight_decay")) return {o.number("weight_decay"), false};
  const std::string text = o.text("weight_decay");
  char* rest = nullptr;
  const double value = std::strtod(text.c_str(), &rest);
  if (std::string(rest) != " for ndim>1 else 0")
    throw UnknownOption("parity: optimizer.weight_decay = \"" + text + "\" is not known");
  return {value, true};
}

using Update = std::function<void()>;  // one step with the gradients in the store

Update adamw_update(const Options& o, ParamStore& store, double lr, double decay) {
  const std::vector<double> betas = o.numbers("betas");
  if (betas.size() != 2) throw UnknownOption("parity: optimizer.betas must be two numbers");
  const auto optimizer = std::make_shared<Optimizer>(
      store, AdamWOptions{betas[0], betas[1], o.number("eps"), decay});
  return [optimizer, lr] { optimizer->step(lr); };
}

// An update that keeps one momentum buffer.
Update momentum_update(const Options& o, ParamStore& store, double lr, double decay, bool is_lars) {
  const double momentum = o.number("momentum"), trust = is_lars ? o.number("trust_coefficient") : 0;
  const bool nesterov = !is_lars && o.has("nesterov") && o.flag("nesterov");
  std::vector<Segment> segments;
  for (const Param& p : store.params()) segments.push_back({p.offset, p.shape.numel(), p.decay, 1.0f});
  const Tensor buffer(store.master().shape(), DType::f32), state = make_update_state();
  fill(buffer, 0);
  state.data<float>()[kLr] = static_cast<float>(lr);
  return [=, &store] {
    if (is_lars) {
      lars(store.master(), store.grad(), buffer, {}, segments, state, {momentum, decay, trust});
    } else {
      sgd(store.master(), store.grad(), buffer, {}, segments, state, {momentum, decay, nesterov});
    }
    store.changed();
  };
}

void fill_store(ParamStore& store, ParityFile& file, bool matrices_only) {
  const std::vector<std::string> names = file.names("param.");
  for (const std::string& name : names) {
    Param p;
    p.name = name;
    p.shape = file.read("param." + name).shape();
    p.decay = !matrices_only || p.shape.rank() > 1;
    store.add(p);
  }
  store.freeze(0);
  load_parameters(store, file);
}

// Row `step` of a tensor [steps, ...], in the shape of `like`.
Tensor row(const Tensor& t, int64_t step, const Tensor& like) {
  return t.slice(step, step + 1).reshape(like.shape());
}

void run_optimizer(ParityFile& file) {
  const int64_t steps = file.config().integer("steps");
  const Options o = file.config().object("optimizer");
  const std::string type = o.text("type");
  const bool is_lars = type.starts_with("LARS");  // "LARS (mae util/lars.py)"
  if (!is_lars && type != "AdamW" && type != "SGD")
    throw UnknownOption("parity: optimizer.type = " + type + ", only AdamW, LARS and SGD are known");
  const DecayRule decay = read_decay(o);
  ParamStore store(file.precision());
  fill_store(store, file, is_lars || decay.matrices_only);  // LARS leaves vectors alone by itself
  const double lr = o.number("lr");
  const Update update = type == "AdamW" ? adamw_update(o, store, lr, decay.value)
                                        : momentum_update(o, store, lr, decay.value, is_lars);
  o.require_all_read("optimizer.");

  std::vector<Tensor> gradients, trajectories;
  for (const Param& p : store.params()) {
    gradients.push_back(file.read("input.grad." + p.name));
    if (gradients.back().numel() != steps * p.shape.numel())
      fail(ErrorKind::checkpoint, "parity: input.grad.{} is no {} gradients", p.name, steps);
    trajectories.emplace_back(gradients.back().shape(), DType::f32);
  }
  for (int64_t s = 0; s < steps; ++s) {
    store.begin_gradients();
    size_t i = 0;
    for (const Param& p : store.params()) {
      copy(p.grad, row(gradients[i++], s, p.grad));
      p.grad_written = true;
    }
    update();
    i = 0;
    for (const Param& p : store.params()) copy(row(trajectories[i++], s, p.master), p.master);
  }
  size_t i = 0;
  for (const Param& p : store.params()) {
    const std::string tol = "tol.trajectory." + p.name;
    file.within("out.trajectory." + p.name, trajectories[i++], file.has(tol) ? 10 * file.read(tol).item() : 0,
                1e-6);
  }
}

void run_clip(ParityFile& file) {
  ParamStore store;
  const std::vector<std::string> names = file.names("input.grad.");
  for (const std::string& name : names) {
    Param p;
    p.name = name;
    p.shape = file.read("input.grad." + name).shape();
    store.add(p);
  }
  store.freeze(0);
  for (const Param& p : store.params()) copy(p.grad, file.read("input.grad." + p.name));
  const Tensor norm({1}, DType::f32), state = make_update_state();
  for (double max_norm : file.config().numbers("max_norms")) {
    grad_norm(norm, store.grad(), max_norm, state);
    const std::string tag = fmt::format(".max{:g}", max_norm);
    file.within("out.norm" + tag, norm, 0, 0, 1e-6);
    for (const Param& p : store.params()) {
      const Tensor clipped(p.shape, DType::f32);
      for (int64_t i = 0; i < p.shape.numel(); ++i)
        clipped.data<float>()[i] = p.grad.data<float>()[i] * state.data<float>()[kClip];
      file.within("out.grad." + p.name + tag, clipped, 0, 0, 1e-6);
    }
  }
}

const RegisterParity steps({"optimizer", [](const Options& o) { return o.text("case") == "optimizer"; },
                            run_optimizer});
const RegisterParity clip({"clip_grad_norm",
                           [](const Options& o) { return o.text("case") == "clip_grad_norm"; }, run_clip});

}  // namespace
}  // namespace tessera
