// Probes a step, and prints what a run of such steps needs.
#include "recipes/trainer/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "autograd/tape.h"
#include "engine/log.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "engine/roof.h"
#include "recipes/trainer/optimizer.h"

namespace tessera {
namespace {

constexpr int64_t kProbeBatch = 4;
constexpr double kGiga = 1 << 30;

// Steps as the trainer's, on pictures of noise.
class Probe {
 public:
  Probe(Recipe& recipe, const Training& t)
      : recipe_(recipe),
        t_(t),
        passes_(std::min<int64_t>(t.train.accumulate, 2)),  // the second adds to gradients; more do the same
        optimizer_(recipe.params(), {t.optim.beta1, t.optim.beta2, t.optim.eps, t.optim.weight_decay}) {}

  int64_t passes() const { return passes_; }

  Batch noise(int64_t pictures) const {
    const DataSettings& d = t_.data;
    Batch batch;
    batch.pixels = Tensor({pictures, d.height, d.width, d.channels}, DType::u8, Device::cpu(), "batches");
    batch.labels.assign(static_cast<size_t>(pictures), 0);
    for (int64_t i = 0; i < pictures; ++i) batch.indices.push_back(i);
    const Philox random(t_.train.seed(), Purpose::synthetic, 0, 0);
    for (int64_t i = 0; i < batch.pixels.numel(); ++i)
      batch.pixels.data<uint8_t>()[i] = static_cast<uint8_t>(random.bits(static_cast<uint64_t>(i)));
    return batch;
  }

  void step(const Batch& batch) {
    const Step at{0, 0, t_.train.seed(), 0};
    recipe_.params().begin_gradients();
    for (int64_t pass = 0; pass < passes_; ++pass) {
      const memory::LabelScope label("activations");
      Tape tape;
      tape.backward(recipe_.loss(batch, at), 1.0f / static_cast<float>(passes_));
    }
    optimizer_.step(0, t_.optim.clip_norm);
    recipe_.after_update(at);
  }

  StepTrace trace(int64_t pictures) {
    const Batch batch = noise(pictures);
    const int before = threads();
    set_threads(1);
    const memory::Recorder recorder;
    step(batch);
    set_threads(before);
    return {pictures, recorder.events()};
  }

  double seconds(int64_t pictures) {
    using Clock = std::chrono::steady_clock;
    const Batch batch = noise(pictures);
    double best = 1e9;
    for (int i = 0; i < 2; ++i) {
      const Clock::time_point start = Clock::now();
      step(batch);
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
  }

 private:
  Recipe& recipe_;
  const Training& t_;
  int64_t passes_;
  Optimizer optimizer_;
};

// The memory of any batch of the configuration.
class MemoryPlanner {
 public:
  MemoryPlanner(Probe& probe, const Training& t) : t_(t) {
    const int64_t large = std::min(t.train.batch, kProbeBatch), small = std::max<int64_t>(large / 2, 1);
    probe.step(probe.noise(small));
    held_ = memory::usage().now_by_label;
    small_ = probe.trace(small);
    large_ = probe.trace(large);
  }

  MemoryPlan plan(int64_t batch) const {
    MemoryPlan p = plan_memory(small_, large_, batch, threads(), held_);
    const int64_t pictures = batch * t_.data.height * t_.data.width * t_.data.channels;
    p.add("batches", (t_.data.prefetch + 1) * memory::block_bytes(pictures));  // and the one in use
    return p;
  }

  int64_t fitting_batch() const {
    for (int64_t batch = t_.train.batch; batch >= 1; batch /= 2) {
      if (memory::limit() == 0 || plan(batch).peak <= memory::limit()) return batch;
    }
    return 0;
  }

 private:
  const Training& t_;
  std::map<std::string, int64_t> held_;
  StepTrace small_, large_;
};

std::string gigabytes(int64_t bytes) { return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / kGiga); }

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  const std::string clock = fmt::format("{}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60);
  return s < 86400 ? clock : fmt::format("{} d {}", s / 86400, clock);
}

void line(const std::string& what, const std::string& value) {
  print_to_stdout(fmt::format("{:<22}{}\n", what, value));
}

void print_work(Recipe& recipe, const Training& t, const RunLength& length) {
  const ParamStore& store = recipe.params();
  line("pictures", fmt::format("{} ({})", length.pictures, t.data.train));
  line("parameters", fmt::format("{} ({} trained)", store.numel(), store.trained_numel()));
  if (recipe.multiply_adds() > 0) {
    const double forward = 2e-9 * recipe.multiply_adds();
    line("forward", fmt::format("{:.3f} GFLOP per picture", forward));
    line("forward + backward", fmt::format("{:.3f} GFLOP per picture", 3 * forward));
  }
  const int64_t batch = t.train.batch * t.train.accumulate;
  line("effective batch", fmt::format("{} ({} x {})", batch, t.train.batch, t.train.accumulate));
  line("learning rate", fmt::format("{} = {} * {} / 256", length.lr, t.optim.blr, batch));
  line("steps", fmt::format("{} ({} per epoch)", length.steps, length.steps_per_epoch));
}

void print_memory(const StepPlan& plan, const Training& t) {
  const int64_t limit = memory::limit() > 0 ? memory::limit() : memory::machine_bytes();
  line("memory",
       fmt::format("{} at the peak of a step, of {}", gigabytes(plan.memory.peak), gigabytes(limit)));
  std::vector<std::pair<std::string, int64_t>> labels(plan.memory.by_label.begin(),
                                                      plan.memory.by_label.end());
  std::stable_sort(labels.begin(), labels.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [label, bytes] : labels) {
    if (bytes > 0) line("  " + label, gigabytes(bytes));
  }
  if (plan.memory.peak <= limit) return;
  log::warning(fmt::format(
      "the plan of {} exceeds the {} of this machine{}", gigabytes(plan.memory.peak), gigabytes(limit),
      plan.fitting_batch > 0
          ? fmt::format("; train.batch={} would fit (then raise train.accumulate){}", plan.fitting_batch,
                        t.train.recompute ? "" : ", or try train.recompute=true")
          : ", and so does a batch of one picture"));
}

void print_time(Recipe& recipe, const StepPlan& plan, const Training& t, int64_t steps) {
  const int n = threads();
  const bool bf16 = t.train.compute().compute == DType::bf16;
  double gflops = roof::multiply_peak(bf16, n, 60);
  if (gflops == 0) gflops = roof::multiply_peak(false, n, 60);  // bf16 on a machine without its instruction
  const double gbs = roof::memory_peak(roof::kLargestSet, n, 12).best();
  line("roof", fmt::format("{:.0f} GFLOP/s in {}, {:.0f} GB/s ({} threads, measured now)", gflops,
                           t.train.precision, gbs, n));
  const double floor = step_floor(recipe, t.train).seconds(gflops, gbs);
  const double share = plan.probe_floor.seconds(gflops, gbs) / plan.probe_seconds;
  const double step = floor / share;
  const auto pictures = static_cast<double>(t.train.batch * t.train.accumulate);
  line("step", fmt::format("{:.4g} s at the roof (nothing is faster); {:.4g} s expected", floor, step));
  line("", fmt::format("since a step of {} pictures ran at {:.0f} % of the roof; larger ones run better",
                       plan.probe_pictures, 100 * share));
  line("images/s", fmt::format("{:.4g} at the roof, {:.4g} expected", pictures / floor, pictures / step));
  const auto count = static_cast<double>(steps);
  line("whole run", fmt::format("{} at the roof, {} expected, without waiting for data",
                                duration(count * floor), duration(count * step)));
}

}  // namespace

StepPlan plan_step(Recipe& recipe, const Training& training) {
  StepPlan plan;
  Probe probe(recipe, training);
  const MemoryPlanner planner(probe, training);
  plan.memory = planner.plan(training.train.batch);
  plan.fitting_batch = planner.fitting_batch();
  TrainSettings probed = training.train;
  probed.batch = std::min(training.train.batch, kProbeBatch);
  probed.accumulate = probe.passes();
  plan.probe_pictures = probed.batch * probed.accumulate;
  plan.probe_floor = step_floor(recipe, probed);
  plan.probe_seconds = probe.seconds(probed.batch);
  return plan;
}

void dry_run(Recipe& recipe, const Training& training, const RunLength& length) {
  print_work(recipe, training, length);
  const StepPlan plan = plan_step(recipe, training);
  print_memory(plan, training);
  if (recipe.multiply_adds() > 0) print_time(recipe, plan, training, length.steps);
}

std::string planned_memory(Recipe& recipe, const Training& training) {
  try {
    Probe probe(recipe, training);
    const MemoryPlanner planner(probe, training);
    const int64_t fits = planner.fitting_batch();
    return fmt::format(
        "planned for this configuration: {}{}", gigabytes(planner.plan(training.train.batch).peak),
        fits > 0 && fits < training.train.batch ? fmt::format("; train.batch={} would fit", fits) : "");
  } catch (const Error&) {
    return "";
  }
}

}  // namespace tessera
