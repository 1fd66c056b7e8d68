// `bench step`: whole training steps of a recipe on synthetic pictures: time against the floor, memory by
// label, page faults. Every row runs in a process of its own, so that its peak is its own.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "autograd/tape.h"
#include "bench/bench.h"
#include "engine/check.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/roof.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/cli.h"
#include "recipes/trainer/floor.h"
#include "recipes/trainer/optimizer.h"
#include "recipes/trainer/trainer.h"
#include "recipes/trainer/version.h"

namespace tessera::bench {
namespace {

using nlohmann::json;

constexpr int64_t kWarmUp = 3;  // steps: the pool and oneDNN's kernels come to be

int64_t minor_faults() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return r.ru_minflt;
}
int64_t peak_resident_bytes() {
  rusage r{};
  getrusage(RUSAGE_SELF, &r);
  return static_cast<int64_t>(r.ru_maxrss) << 10;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// Noise: what a step costs does not depend on what the pictures show.
Batch noise_batch(const DataSettings& d, int64_t size) {
  Batch batch;
  batch.pixels = Tensor({size, d.height, d.width, d.channels}, DType::u8, Device::cpu(), "batches");
  auto* p = batch.pixels.data<uint8_t>();
  for (int64_t i = 0; i < batch.pixels.numel(); ++i) {
    p[i] = static_cast<uint8_t>((static_cast<uint64_t>(i) * 2654435761U) >> 24);
  }
  for (int64_t i = 0; i < size; ++i) batch.indices.push_back(i);
  return batch;
}

// One optimiser step, as the trainer makes it.
// `saved` takes the bytes that the forward pass left for the backward pass.
double train_step(Recipe& recipe, Optimizer& optimizer, const Batch& batch, const Step& at, double clip,
                  int64_t& saved) {
  const memory::LabelScope label("activations");
  recipe.params().begin_gradients();
  const int64_t before = memory::usage().now;
  double loss = 0;
  {
    Tape tape;
    const Var part = recipe.loss(batch, at);
    saved = memory::usage().now - before;
    loss = part.value().item();
    tape.backward(part);
  }
  optimizer.step(1e-4, clip);
  recipe.after_update(at);
  return loss;
}

json measure(const StepRow& row) {
  MaeSettings s;
  load_config(s, row.preset, row.overrides);
  apply_threads(row.threads);
  MaePretrain recipe(s);
  Optimizer optimizer(recipe.params(), {s.optim.beta1, s.optim.beta2, s.optim.eps, s.optim.weight_decay});
  const Batch batch = noise_batch(s.data, s.train.batch);
  const bool bf16 = s.train.compute().compute == DType::bf16;

  std::vector<double> seconds;
  double peak = 0, rate = 0, loss = 0;
  int64_t faults = 0, saved = 0;
  for (int64_t i = 0; i < kWarmUp + row.steps; ++i) {
    const int64_t before = minor_faults();
    const double start = roof::now(row.threads);
    loss = train_step(recipe, optimizer, batch, {i, 0, 0, 0}, s.optim.clip_norm, saved);
    if (i < kWarmUp) continue;
    seconds.push_back(roof::now(row.threads) - start);
    faults = std::max(faults, minor_faults() - before);
    peak = std::max(peak, roof::multiply_peak(bf16, row.threads, 5));
  }
  if (peak == 0) peak = roof::multiply_peak(false, row.threads, 20);  // bf16 without its instruction
  const memory::Usage used = memory::usage();
  const int64_t resident = peak_resident_bytes();  // before the memory roof's own buffer
  rate = roof::memory_peak(roof::kLargestSet, row.threads, 5).best();

  const double pictures = static_cast<double>(s.train.batch);
  const Floor least = step_floor(recipe, s.train);
  const double floor = least.seconds(peak, rate);
  const double typical = median(seconds), best = *std::min_element(seconds.begin(), seconds.end());
  json labels;
  for (const auto& [label, size] : used.peak_by_label) labels[label] = size;
  return {{"model", s.model.name},
          {"batch", s.train.batch},
          {"precision", s.train.precision},
          {"recompute", s.train.recompute},
          {"threads", row.threads},
          {"ms", typical * 1e3},
          {"ms_best", best * 1e3},
          {"images_per_second", pictures / typical},
          {"gflop", least.flops * 1e-9},
          {"floor_ms", floor * 1e3},
          {"times_floor", typical / floor},
          {"times_floor_best", best / floor},
          {"peak_gflops", peak},
          {"memory_gbs", rate},
          {"peak_bytes", used.peak},
          {"reserved_bytes", used.reserved},
          {"resident_bytes", resident},
          {"saved_bytes", saved},
          {"peak_by_label", labels},
          {"minor_faults", faults},
          {"loss", loss}};
}

void print_header() {
  fmt::print("{:<20}{:>6}{:>6}{:>4}{:>8}{:>10}{:>9}{:>10}{:>8}{:>9}{:>9}{:>8}\n", "model", "batch", "type",
             "thr", "recomp", "ms", "img/s", "floor ms", "x floor", "pool MB", "rss MB", "faults");
}

void print(const json& r) {
  fmt::print("{:<20}{:>6}{:>6}{:>4}{:>8}{:>10.1f}{:>9.2f}{:>10.1f}{:>8.2f}{:>9}{:>9}{:>8}\n",
             r["model"].get<std::string>(), r["batch"].get<int64_t>(), r["precision"].get<std::string>(),
             r["threads"].get<int>(), r["recompute"].get<bool>() ? "yes" : "no", r["ms"].get<double>(),
             r["images_per_second"].get<double>(), r["floor_ms"].get<double>(),
             r["times_floor"].get<double>(), r["peak_bytes"].get<int64_t>() >> 20,
             r["resident_bytes"].get<int64_t>() >> 20, r["minor_faults"].get<int64_t>());
  std::string labels;
  for (const auto& [label, bytes] : r["peak_by_label"].items()) {
    if (bytes.get<int64_t>() >> 20 == 0) continue;
    labels += fmt::format("{}{} {}", labels.empty() ? "" : ", ", label, bytes.get<int64_t>() >> 20);
  }
  fmt::print("    saved for backward {} MB; at the peak, MB: {}\n", r["saved_bytes"].get<int64_t>() >> 20,
             labels);
  std::fflush(stdout);
}

// Runs `row` in a child process and returns what it measured.
json in_child(const StepRow& row) {
  int ends[2];
  if (pipe(ends) != 0) fail(ErrorKind::io, "bench: no pipe: {}", std::strerror(errno));
  const pid_t child = fork();
  if (child < 0) fail(ErrorKind::io, "bench: no child process: {}", std::strerror(errno));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // whoever ends the bench ends its row
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    std::vector<std::string> words = {"bench",     "step",
                                      "--row",     row.preset,
                                      "--threads", std::to_string(row.threads),
                                      "--steps",   std::to_string(row.steps)};
    words.insert(words.end(), row.overrides.begin(), row.overrides.end());
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    execv("/proc/self/exe", argv.data());
    _exit(127);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    fail(ErrorKind::internal, "bench: a row of {} failed; its message is above", row.preset);
  return json::parse(text);
}

std::vector<StepRow> rows_of(const StepOptions& o) {
  std::vector<StepRow> rows;
  for (const std::string& preset : o.presets) {
    for (int64_t batch : o.batches) {
      for (const std::string& precision : o.precisions) {
        for (int threads : o.threads) {
          StepRow row{find_preset(preset, "mae"), o.overrides, threads, o.steps};
          row.overrides.push_back(fmt::format("train.batch={}", batch));
          row.overrides.push_back("train.precision=" + precision);
          row.overrides.push_back("train.accumulate=1");
          rows.push_back(row);
        }
      }
    }
  }
  return rows;
}

}  // namespace

int run_step_row(const StepRow& row) {
  fmt::print("{}\n", measure(row).dump());
  return 0;
}

int run_step(const StepOptions& options) {
  fmt::print("{}\n", cpu_name());
  print_header();
  json all = {{"cpu", cpu_name()}, {"commit", code_version()}, {"rows", json::array()}};
  double worst = 0;
  for (const StepRow& row : rows_of(options)) {
    all["rows"].push_back(in_child(row));
    print(all["rows"].back());
    worst = std::max(worst, all["rows"].back()["times_floor"].get<double>());
  }
  if (options.most > 0 && worst > options.most)
    fail(ErrorKind::internal, "a step takes {:.2f} times its floor, at most {:.2f} was asked for", worst,
         options.most);
  if (options.json.empty()) return 0;
  std::ofstream out(options.json);
  out << all.dump(1) << "\n";
  out.close();
  if (!out) fail(ErrorKind::io, "{}: cannot be written; is the folder there, the disk full?", options.json);
  return 0;
}

}  // namespace tessera::bench
