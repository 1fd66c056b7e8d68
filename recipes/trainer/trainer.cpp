#include "recipes/trainer/trainer.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "autograd/audit.h"
#include "autograd/tape.h"
#include "data/write_png.h"
#include "engine/check.h"
#include "engine/fault.h"
#include "engine/log.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "recipes/trainer/guard.h"
#include "recipes/trainer/optimizer.h"
#include "recipes/trainer/plan.h"
#include "recipes/trainer/progress.h"
#include "recipes/trainer/run_log.h"
#include "recipes/trainer/schedule.h"
#include "recipes/trainer/signals.h"
#include "recipes/trainer/step_profile.h"
#include "recipes/trainer/tensorboard.h"

namespace tessera {
namespace {

constexpr const char* kSkips = "skipped_steps";  // so far, in a checkpoint

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(2);  // with data workers, when all is saved
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// How far a run goes and where in the data a step stands. Everything follows from the step number.
struct Plan {
  int64_t steps_per_epoch = 0;  // optimiser steps
  int64_t steps = 0;
  int64_t accumulate = 1;
  int64_t save_every = 0, picture_every = 0;
  Schedule schedule;

  int64_t epoch(int64_t step) const { return step / steps_per_epoch; }
  int64_t batch_in_epoch(int64_t step) const { return step % steps_per_epoch * accumulate; }
  // The epoch as the schedule sees it (spec mae.md 4.2). Counted in optimiser steps, not in batches: the same
  // where accumulation divides an epoch's batches, and else what makes accumulation equal the large batch.
  double tau(int64_t step) const {
    return static_cast<double>(epoch(step)) +
           static_cast<double>(step % steps_per_epoch) / static_cast<double>(steps_per_epoch);
  }
};

Plan make_plan(const Training& t, int64_t pictures) {
  Plan p;
  p.accumulate = t.train.accumulate;
  p.steps_per_epoch = pictures / t.train.batch / p.accumulate;
  if (p.steps_per_epoch == 0) {
    fail(ErrorKind::config,
         "train.batch {} x train.accumulate {} is more than the {} pictures of {}; lower one of them",
         t.train.batch, t.train.accumulate, pictures, t.data.train);
  }
  p.steps = t.train.epochs * p.steps_per_epoch;
  if (t.train.max_steps > 0) p.steps = std::min(p.steps, t.train.max_steps);
  p.save_every = t.train.save_every > 0 ? t.train.save_every : p.steps_per_epoch;
  p.picture_every = t.train.picture_every > 0 ? t.train.picture_every : p.save_every;
  p.schedule.lr = scaled_lr(t.optim.blr, t.train.batch * t.train.accumulate);
  p.schedule.min_lr = t.optim.min_lr;
  p.schedule.warmup_epochs = t.optim.warmup_epochs;
  p.schedule.epochs = static_cast<double>(t.train.epochs);
  if (t.optim.warmup_epochs > 0 && t.optim.warmup_epochs >= static_cast<double>(t.train.epochs)) {
    fail(ErrorKind::config, "optim.warmup_epochs {} leaves nothing of train.epochs {}; lower it",
         t.optim.warmup_epochs, t.train.epochs);
  }
  return p;
}

class Run {
 public:
  Run(Recipe& recipe, const Training& t, const Plan& plan, std::shared_ptr<const Dataset> data,
      const Invocation& call)
      : recipe_(recipe),
        t_(t),
        plan_(plan),
        data_(std::move(data)),
        folder_(call.out),
        profile_(call.profile),
        optimizer_(recipe.params(), {t.optim.beta1, t.optim.beta2, t.optim.eps, t.optim.weight_decay}) {
    fault::at("startup");
    loader_ = std::make_unique<Loader>(data_, loader_options());
    // What is wrong with the input is found before --overwrite has cost an earlier run, or a folder is made.
    check_run_folder(folder_, call.existing, t.config);
    if (call.existing == Existing::resume) resume();
    if (start_ == 0 && !call.init_from.empty())
      load_parameters(recipe.params(), load_weights(call.init_from));
    open_run_folder(folder_, call.existing, t.config);
    log_ = std::make_unique<RunLog>(folder_, start_);
    events_ = std::make_unique<EventWriter>(folder_, start_);
  }

  int go() {
    watch_signals();
    if (start_ >= plan_.steps) log::info(fmt::format("{}: all {} steps are done", folder_, plan_.steps));
    if (start_ < plan_.steps) loader_->start(plan_.epoch(start_), plan_.batch_in_epoch(start_));
    window_start_ = Clock::now();
    for (int64_t i = start_; i < plan_.steps; ++i) {
      if (leave_requested() != 0) return leave(i);
      const std::optional<double> loss = step(i);
      if (!loss) return leave(i);
      const int64_t done = i + 1;
      report(done, *loss);
      const bool last = done == plan_.steps;
      if (last || done % plan_.picture_every == 0) draw(done);
      if (last || done % plan_.save_every == 0) save(done);
    }
    return leave_requested() != 0 ? leave(plan_.steps) : end(0);
  }

 private:
  // One optimiser step: the straight line of a batch. No loss when a signal came while data were waited for:
  // nothing was updated then.
  std::optional<double> step(int64_t i) {
    const ProfiledStep profiled(profile_ && i > start_);  // the first step warms up
    fault::at("step", i + 1);
    audit::begin_step(i + 1);
    recipe_.params().begin_gradients();
    std::vector<Tensor> losses;  // read only when the update is under way: no device waits for the host
    for (int64_t micro = 0; micro < plan_.accumulate; ++micro) {
      fault::at("micro");
      batch_ = next_batch();
      if (batch_.size() == 0) return {};
      at_ = {i, micro * t_.train.batch, t_.train.seed(), plan_.tau(i)};
      const memory::LabelScope label("activations");
      Tape tape;
      const Var part = micro_loss(recipe_, batch_, at_);
      losses.push_back(part.value());
      tape.backward(part, 1.0f / static_cast<float>(plan_.accumulate));
    }
    lr_ = plan_.schedule.at(plan_.tau(i));
    optimizer_.step(lr_, t_.optim.clip_norm, losses);
    double loss = 0;
    for (const Tensor& part : losses) loss += part.item() / static_cast<double>(plan_.accumulate);
    optimizer_.skipped() ? skip(i, loss) : recipe_.after_update(at_);
    return loss;
  }

  Batch next_batch() {
    const ProfileScope waits("data wait");
    return loader_->next();
  }

  // Nothing was updated: says why, and gives up after too many.
  void skip(int64_t i, double loss) {
    const SkippedStep what = {{i, 0, t_.train.seed(), plan_.tau(i)},
                              plan_.accumulate,
                              plan_.epoch(i),
                              plan_.batch_in_epoch(i),
                              loss,
                              optimizer_.grad_norm()};
    const Diagnosis d = diagnose(recipe_, what, data_, loader_options());
    log::warning(d.text);
    log_->skipped(i + 1, d.json);
    if (++skips_ > t_.train.max_skips) {
      fail(ErrorKind::non_finite,
           "{} steps were not finite (train.max_skips {}); lower optim.blr or set optim.clip_norm. {}",
           skips_, t_.train.max_skips,
           saved_ < 0 ? "No checkpoint was saved yet"
                      : fmt::format("The last good checkpoint is {}/checkpoints/step-{}", folder_, saved_));
    }
  }

  void report(int64_t done, double loss) {
    const bool logged = done % t_.train.log_every == 0 || done == plan_.steps || done == start_ + 1;
    const double elapsed = seconds_since(window_start_);
    StepReport r;
    r.step = done;
    r.steps = plan_.steps;
    r.epoch = static_cast<double>(done) / static_cast<double>(plan_.steps_per_epoch);
    r.loss = loss;
    r.lr = lr_;
    r.grad_norm = optimizer_.grad_norm();
    const auto in_window = static_cast<double>(done - window_step_);
    r.images_per_second = in_window * static_cast<double>(t_.train.batch * plan_.accumulate) / elapsed;
    r.eta_seconds = elapsed / in_window * static_cast<double>(plan_.steps - done);
    r.memory_bytes = memory::usage().peak;
    r.data_wait = (loader_->wait_seconds() - window_wait_) / elapsed;
    progress_.show(r, logged);
    // Whether a line is written depends on the step alone: a resumed run writes the lines of an unbroken one.
    if (done % t_.train.log_every != 0 && done != plan_.steps) return;
    log_->step(done, {{"epoch", r.epoch}, {"loss", loss}, {"lr", lr_}, {"grad_norm", r.grad_norm}},
               {{"img/s", r.images_per_second},
                {"data_wait", r.data_wait},
                {"memory_mb", static_cast<double>(r.memory_bytes >> 20)}});
    for (const auto& [tag, value] : {std::pair{"loss", loss},
                                     {"lr", lr_},
                                     {"grad_norm", r.grad_norm},
                                     {"img_per_s", r.images_per_second}}) {
      events_->scalar(tag, done, value);
    }
    window_start_ = Clock::now();
    window_step_ = done;
    window_wait_ = loader_->wait_seconds();
  }

  void draw(int64_t done) {
    const NoGrad nothing_records;
    fault::at("picture");
    const std::optional<Picture> picture = recipe_.picture(batch_, at_);
    if (!picture) return;
    const std::string png = encode_png(*picture);
    try {
      real_disk().make_directory(folder_ + "/vis");
      replace_file(real_disk(), fmt::format("{}/vis/step-{}.png", folder_, done), png);
    } catch (const Error& e) {  // a picture is not worth the run
      log::warn_once("vis", fmt::format("{}; training goes on without this picture", e.what()));
    }
    events_->image("reconstruction", done, picture->height(), picture->width(), picture->channels(), png);
  }

  void save(int64_t done) {
    Checkpoint c;
    c.info = recipe_.describe();
    c.info.step = done;
    c.info.epoch = static_cast<double>(done) / static_cast<double>(plan_.steps_per_epoch);
    c.info.seed = t_.train.seed();
    c.info.config = t_.config;
    if (skips_ > 0) c.info.extra[kSkips] = std::to_string(skips_);
    for (const Param& p : recipe_.params().params()) c.model.tensors.emplace_back(p.name, p.master);
    c.optimizer = optimizer_.state();
    log_->sync();
    save_checkpoint(folder_, c, t_.train.keep);
    saved_ = done;
  }

  int leave(int64_t done) {
    if (saved_ != done) save(done);
    log::info(fmt::format("{}: checkpoint of step {} saved; go on with --resume",
                          signal_name(leave_requested()), done));
    return end(kExitPreempted);
  }

  // All is saved. A worker stuck in a sample (a disk that no longer answers) is left behind, not waited for.
  int end(int code) {
    if (loader_->stop(kPatience)) return code;
    log::warning("a data worker is stuck in a sample; leaving without it");
    std::fflush(nullptr);
    std::_Exit(code);
  }

  void resume() {
    const auto [latest, c] = load_latest(folder_);
    if (latest.empty()) return;
    load_parameters(recipe_.params(), {latest, c.info, c.model});
    optimizer_.load_state(c.optimizer);
    start_ = saved_ = c.info.step;
    const auto skips = c.info.extra.find(kSkips);
    if (skips != c.info.extra.end()) skips_ = std::stoll(skips->second);
    window_step_ = start_;
    clear_leftovers(folder_, start_, t_.train.keep);
    log::info(fmt::format("resuming from {} (step {} of {})", latest, start_, plan_.steps));
  }

  LoaderOptions loader_options() {
    LoaderOptions o;
    o.sampler.batch = t_.train.batch;
    o.sampler.seed = t_.train.seed();
    o.sampler.multiple = plan_.accumulate;
    o.transform = t_.data.transform_options();
    o.workers = t_.data.workers;
    o.prefetch = t_.data.prefetch;
    o.max_bad_fraction = t_.data.max_bad_fraction;
    o.give_up = [] { return leave_requested() != 0; };
    o.on_bad_sample = [this](const Substitute& s) { log_->bad_sample(s.broken, bad_sample_line(s)); };
    return o;
  }

  Recipe& recipe_;
  const Training& t_;
  const Plan& plan_;
  std::shared_ptr<const Dataset> data_;
  std::string folder_;
  bool profile_;
  Optimizer optimizer_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<EventWriter> events_;
  std::unique_ptr<Loader> loader_;
  Progress progress_;
  Batch batch_;  // the latest, and where it stood
  Step at_;
  double lr_ = 0;
  int64_t start_ = 0, saved_ = -1, skips_ = 0;
  Clock::time_point window_start_;
  int64_t window_step_ = 0;
  double window_wait_ = 0;
};

}  // namespace

void apply_threads(int threads) {
  if (threads > 0) set_threads(threads);
  pin_threads();
}

void load_parameters(ParamStore& store, const Weights& weights) {
  std::string wrong;
  int count = 0;
  const auto complain = [&](const std::string& what) {
    if (++count <= 8) wrong += "\n  " + what;
  };
  for (const Param& p : store.params()) {
    const Tensor* t = weights.model.find(p.name);
    if (t == nullptr) {
      complain(fmt::format("{} {} is missing", p.name, p.shape.str()));
    } else if (t->shape() != p.shape) {
      complain(fmt::format("{} is {}, the model wants {}", p.name, t->shape().str(), p.shape.str()));
    }
  }
  for (const auto& [name, tensor] : weights.model.tensors) {
    if (store.find(name) == nullptr)
      complain(fmt::format("{} {} is unknown to the model", name, tensor.shape().str()));
  }
  if (count > 0) {
    fail(ErrorKind::checkpoint, "{} does not fit this model{}: {} differences{}{}", weights.path,
         weights.info.model.empty() ? ""
                                    : " (it holds " + weights.info.model + ", " + weights.info.parts + ")",
         count, wrong, count > 8 ? "\n  ..." : "");
  }
  for (const Param& p : store.params()) store.assign(p, weights.model.at(p.name));
  store.changed();
}

int train(Recipe& recipe, const Training& training, const Invocation& call) {
  const std::shared_ptr<const Dataset> data = open_dataset(training.data.train);
  const Plan plan = make_plan(training, data->size());
  if (call.dry_run) {
    dry_run(recipe, training, {data->size(), plan.steps, plan.steps_per_epoch, plan.schedule.lr});
    return 0;
  }
  if (call.out.empty())
    fail(ErrorKind::config, "--out DIR is missing: the folder for logs, checkpoints and pictures");
  try {
    const int code = Run(recipe, training, plan, data, call).go();
    if (call.profile) print_step_profile(call.out);
    return code;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::memory) throw;
    const std::string planned = planned_memory(recipe, training);
    fail(ErrorKind::memory, "{}{}{}", e.what(), planned.empty() ? "" : ". ", planned);
  }
}

}  // namespace tessera
