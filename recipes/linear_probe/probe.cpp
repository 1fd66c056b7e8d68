#include "recipes/linear_probe/probe.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/copy.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/lars/lars.h"
#include "ops/linear/linear.h"
#include "ops/sgd/sgd.h"
#include "recipes/trainer/schedule.h"

namespace tessera {
namespace {

void check_options(const ProbeOptions& o) {
  const auto wanted = [](bool good, const char* what, double value) {
    if (!good) fail(ErrorKind::config, "linear_probe: {} is {}", what, value);
  };
  wanted(o.blr > 0, "blr must be above 0; it", o.blr);
  wanted(o.batch >= 2, "batch must be 2 or more; it", static_cast<double>(o.batch));
  wanted(o.epochs >= 1, "epochs must be 1 or more; it", static_cast<double>(o.epochs));
  wanted(o.warmup_epochs >= 0, "warmup_epochs must be 0 or more; it", o.warmup_epochs);
  wanted(o.min_lr >= 0, "min_lr must be 0 or more; it", o.min_lr);
}

void check_samples(const Tensor& features, const Tensor& labels, int64_t classes, const char* what) {
  TS_CHECK(features.rank() == 2 && features.dtype() == DType::f32,
           "linear_probe: {} features are {} {}, wanted [N,D] f32", what, features.shape().str(),
           name(features.dtype()));
  TS_CHECK(labels.shape() == Shape({features.dim(0)}) && labels.dtype() == DType::i32,
           "linear_probe: {} labels are {} {}, wanted [{}] i32", what, labels.shape().str(),
           name(labels.dtype()), features.dim(0));
  const int32_t* p = labels.data<int32_t>();
  for (int64_t i = 0; i < labels.numel(); ++i) {
    if (p[i] < 0 || p[i] >= classes)
      fail(ErrorKind::data, "linear_probe: label {} of {} sample {} is outside [0, {})", p[i], what, i,
           classes);
  }
}

// Positions [first, first + batch) of the epoch's order.
void gather(const Tensor& x, const Tensor& y, const Tensor& features, const Tensor& labels, uint64_t seed,
            int64_t epoch, int64_t first) {
  const int64_t n = features.dim(0), d = features.dim(1);
  parallel_for(x.dim(0), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t from = shuffled(seed, static_cast<uint64_t>(epoch), static_cast<uint64_t>(first + i),
                                     static_cast<uint64_t>(n));
      std::memcpy(x.data<float>() + i * d, features.data<float>() + static_cast<int64_t>(from) * d,
                  static_cast<size_t>(d) * sizeof(float));
      y.data<int32_t>()[i] = labels.data<int32_t>()[from];
    }
  });
}

ProbeResult score(const ProbeHead& head, const Tensor& test, const Tensor& labels) {
  constexpr int64_t kRows = 4096;
  const int64_t m = test.dim(0);
  int64_t first = 0, five = 0;
  for (int64_t begin = 0; begin < m; begin += kRows) {
    const Tensor z = head.logits(test.slice(begin, std::min(m, begin + kRows)));
    for (int64_t r = 0; r < z.dim(0); ++r) {
      const float* row = z.data<float>() + r * z.dim(1);
      const int64_t label = labels.data<int32_t>()[begin + r];
      int64_t before = 0;
      for (int64_t c = 0; c < z.dim(1); ++c)
        before += row[c] > row[label] || (row[c] == row[label] && c < label) ? 1 : 0;
      first += before < 1 ? 1 : 0;
      five += before < 5 ? 1 : 0;
    }
  }
  return {static_cast<double>(first) / static_cast<double>(m),
          static_cast<double>(five) / static_cast<double>(m), 0};
}

}  // namespace

ProbeHead::ProbeHead(int64_t width, int64_t classes, const ProbeOptions& options) : options_(options) {
  check_options(options);
  TS_CHECK(width >= 1 && classes >= 1, "linear_probe: width is {}, classes {}", width, classes);
  const Scope head = Scope(params_) / "head" / 1;
  weight_ = &head.param("weight", {classes, width}, Init::gaussian(0.01), Decay::yes, Use::matrix);
  bias_ = &head.param("bias", {classes}, Init::zeros(), Decay::no, Use::vector);
  params_.freeze(options.seed);
  const bool decay_all = options.optimizer ==
                         ProbeOptions::Optimizer::sgd;  // as PyTorch's SGD; LARS spares biases
  for (const Param& p : params_.params())
    segments_.push_back({p.offset, p.shape.numel(), decay_all || p.decay, 1.0f});
  running_mean_ = Tensor({width}, DType::f32);
  running_var_ = Tensor({width}, DType::f32);
  fill(running_mean_, 0);
  fill(running_var_, 1);
  momentum_ = Tensor(params_.master().shape(), DType::f32);
  fill(momentum_, 0);
  state_ = make_update_state();
}

Var ProbeHead::forward(const Tensor& features, BatchNormMode mode) const {
  return linear(batch_norm(Var(features), running_mean_, running_var_, mode), *weight_, *bias_);
}

double ProbeHead::backward(const Tensor& features, const Tensor& labels) {
  params_.begin_gradients();
  Tape tape;
  const Var loss = cross_entropy(forward(features, BatchNormMode::training), labels);
  tape.backward(loss);
  return loss.value().item();
}

void ProbeHead::update(double lr) {
  state_.data<float>()[kLr] = static_cast<float>(lr);
  if (options_.optimizer == ProbeOptions::Optimizer::lars) {
    lars(params_.master(), params_.grad(), momentum_, {}, segments_, state_,
         {options_.momentum, options_.weight_decay, options_.trust});
  } else {
    sgd(params_.master(), params_.grad(), momentum_, {}, segments_, state_,
        {options_.momentum, options_.weight_decay, false});
  }
  params_.changed();
}

Tensor ProbeHead::logits(const Tensor& features) const {
  const NoGrad no_grad;
  return forward(features, BatchNormMode::evaluation).value();
}

ProbeResult linear_probe(const std::function<ProbeBatch(int64_t, int64_t)>& next, int64_t samples,
                         const Tensor& test, const Tensor& test_labels, int64_t classes,
                         const ProbeOptions& options) {
  check_samples(test, test_labels, classes, "test");
  if (samples < 2 || test.dim(0) < 1)
    fail(ErrorKind::data, "linear_probe: {} training and {} test samples; wanted 2 and 1 or more", samples,
         test.dim(0));
  ProbeHead head(test.dim(1), classes, options);
  const int64_t batch = std::min(options.batch, samples), steps = samples / batch;
  const Schedule schedule{scaled_lr(options.blr, batch), options.min_lr, options.warmup_epochs,
                          static_cast<double>(options.epochs)};
  double epoch_loss = 0;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    epoch_loss = 0;
    for (int64_t step = 0; step < steps; ++step) {
      const ProbeBatch b = next(epoch, step);
      const double loss = head.backward(b.features, b.labels);
      if (!std::isfinite(loss))
        fail(ErrorKind::non_finite,
             "linear_probe: the loss of epoch {}, step {} is {}; are the features finite?", epoch, step,
             loss);
      epoch_loss += loss / static_cast<double>(steps);
      head.update(
          schedule.at(static_cast<double>(epoch) + static_cast<double>(step) / static_cast<double>(steps)));
    }
  }
  ProbeResult result = score(head, test, test_labels);
  result.train_loss = epoch_loss;
  return result;
}

ProbeResult linear_probe(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                         const Tensor& test_labels, int64_t classes, const ProbeOptions& options) {
  check_samples(train, train_labels, classes, "train");
  const int64_t n = train.dim(0), d = train.dim(1), batch = std::min(options.batch, n);
  TS_CHECK(test.dim(1) == d, "linear_probe: train features are {}, test features {}", train.shape().str(),
           test.shape().str());
  const Tensor x({batch, d}, DType::f32), y({batch}, DType::i32);
  const auto next = [&](int64_t epoch, int64_t step) {
    gather(x, y, train, train_labels, options.seed, epoch, step * batch);
    return ProbeBatch{x, y};
  };
  return linear_probe(next, n, test, test_labels, classes, options);
}

}  // namespace tessera
