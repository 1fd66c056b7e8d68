#include "recipes/trainer/optimizer.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"
#include "engine/copy.h"
#include "ops/grad_norm/grad_norm.h"

namespace tessera {

Optimizer::Optimizer(ParamStore& store, const AdamWOptions& options, double layer_decay)
    : store_(store),
      options_(options),
      norm_({1}, DType::f32, store.device(), "optimizer"),
      update_(make_update_state(store.device())) {
  TS_CHECK(store.frozen(), "optimizer: made before ParamStore::freeze()");
  int deepest = 0;
  for (const Param& p : store.params()) deepest = std::max(deepest, p.depth);
  for (const Param& p : store.params()) {
    if (!p.trained) continue;
    const double scale = std::pow(layer_decay, deepest - p.depth);
    segments_.push_back({p.offset, p.shape.numel(), p.decay, static_cast<float>(scale)});
  }
  exp_avg_ = Tensor(store.master().shape(), DType::f32, store.device(), "optimizer");
  exp_avg_sq_ = Tensor(store.master().shape(), DType::f32, store.device(), "optimizer");
  fill(exp_avg_, 0);
  fill(exp_avg_sq_, 0);
  fill(norm_, 0);
}

void Optimizer::step(double lr, double max_norm, std::span<const Tensor> losses) {
  store_.finish_gradients();
  tessera::grad_norm(norm_, store_.grad(), max_norm, update_, losses);
  update_.data<float>()[kLr] = static_cast<float>(lr);
  const bool copies = store_.precision().compute != DType::f32;
  adamw(store_.master(), store_.grad(), exp_avg_, exp_avg_sq_, copies ? store_.compute() : Tensor(),
        segments_, update_, options_);
  store_.changed(copies);
}

bool Optimizer::skipped() const { return update_.data<float>()[kSkip] != 0; }

SafeTensors Optimizer::state() const {
  SafeTensors s;
  for (const auto& [prefix, slab] :
       {std::pair{"exp_avg.", &exp_avg_}, std::pair{"exp_avg_sq.", &exp_avg_sq_}}) {
    for (const Param& p : store_.params()) {
      if (!p.trained) continue;
      const Tensor part = slab->slice(p.offset, p.offset + p.shape.numel()).reshape(p.shape);
      s.tensors.emplace_back(prefix + p.name, part);
    }
  }
  const Tensor step({1}, DType::i64);
  *step.data<int64_t>() = static_cast<int64_t>(update_.data<float>()[kStep]);
  s.tensors.emplace_back("step", step);
  return s;
}

void Optimizer::load_state(const SafeTensors& state) {
  for (const auto& [prefix, slab] :
       {std::pair{"exp_avg.", &exp_avg_}, std::pair{"exp_avg_sq.", &exp_avg_sq_}}) {
    for (const Param& p : store_.params()) {
      if (!p.trained) continue;
      const Tensor& from = state.at(prefix + p.name);
      if (from.shape() != p.shape || from.dtype() != DType::f32) {
        fail(ErrorKind::checkpoint, "optimizer state {}{} is {} {}, wanted {} f32", prefix, p.name,
             from.shape().str(), name(from.dtype()), p.shape.str());
      }
      copy(slab->slice(p.offset, p.offset + p.shape.numel()).reshape(p.shape), from);
    }
  }
  update_.data<float>()[kStep] = static_cast<float>(state.at("step").item());
}

}  // namespace tessera
