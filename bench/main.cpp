// bench: how fast the kernels are on this machine, beside what the machine could do.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/bench.h"
#include "engine/parallel.h"
#include "engine/require.h"
#include "recipes/trainer/version.h"

namespace tessera {
namespace {

CLI::App* declare_ops(CLI::App& app, bench::OpsOptions& options) {
  options.threads = threads();
  CLI::App* ops = app.add_subcommand("ops", "every op at the sizes of real models");
  ops->add_option("--filter", options.filter, "only ops whose name contains this");
  ops->add_option("--threads", options.threads,
                  "default: as many as OpenMP would use; 1 is timed in CPU time")
      ->check(CLI::Range(1, 1024));
  ops->add_option("--seconds", options.seconds, "spent on each row")->check(CLI::PositiveNumber);
  ops->add_flag("--smoke", options.smoke, "each row once: does it run?");
  ops->add_option("--json", options.json, "also write the figures to this file");
  return ops;
}

CLI::App* declare_data(CLI::App& app, bench::DataOptions& pictures) {
  CLI::App* data = app.add_subcommand("data", "pictures from files to what a model sees");
  data->add_option("--files", pictures.files,
                   "a folder of pictures, a folder of such folders, or a list; default: made-up photos");
  data->add_option("--write", pictures.write, "keep the made-up photos in this folder")->excludes("--files");
  data->add_option("--threads", pictures.threads, "workers of the loader")->check(CLI::Range(0, 1024));
  data->add_option("--seconds", pictures.seconds, "spent on each row")->check(CLI::PositiveNumber);
  data->add_option("--json", pictures.json, "also write the figures and the crops to this file");
  return data;
}

// `row`: the preset's path in a process that measures one row.
CLI::App* declare_step(CLI::App& app, bench::StepOptions& steps, std::string& row) {
  steps.threads = {1, threads()};
  CLI::App* step = app.add_subcommand("step", "whole training steps of MAE on synthetic pictures");
  step->add_option("overrides", steps.overrides, "key=value, as for mae pretrain (train.recompute=true)");
  step->add_option("--preset", steps.presets, "of recipes/mae")->delimiter(',');
  step->add_option("--batch", steps.batches, "pictures of a step")->delimiter(',');
  step->add_option("--precision", steps.precisions, "f32, bf16")->delimiter(',');
  step->add_option("--threads", steps.threads)->delimiter(',')->check(CLI::Range(1, 1024));
  step->add_option("--most", steps.most, "fail if a step takes more than this many times its floor");
  step->add_option("--steps", steps.steps, "timed for a row, after three that are not")
      ->check(CLI::Range(1, 1000));
  step->add_option("--json", steps.json, "also write the figures to this file");
  step->add_option("--row", row)->group("");
  return step;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  using namespace tessera;
  wait_passively(argv);
  CLI::App app("Measures kernels and steps against the machine's own multiply and memory rates.", "bench");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text("bench"));

  int most_threads = threads();
  CLI::App* roof = app.add_subcommand("roof", "multiply and memory rates for 1..N threads");
  roof->add_option("--threads", most_threads, "N; default: as many as OpenMP would use")
      ->check(CLI::Range(1, 1024));

  bench::OpsOptions options;
  bench::DataOptions pictures;
  bench::StepOptions steps;
  std::string row;
  const CLI::App* ops = declare_ops(app, options);
  const CLI::App* data = declare_data(app, pictures);
  declare_step(app, steps, row);

  try {
    app.parse(argc, argv);
    if (roof->parsed()) return bench::run_roof(most_threads);
    if (data->parsed()) return bench::run_data(pictures);
    if (ops->parsed()) return bench::run_ops(options);
    if (row.empty()) return bench::run_step(steps);
    return bench::run_step_row({row, steps.overrides, steps.threads.at(0), steps.steps});
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const Error& e) {
    std::fprintf(stderr, "bench: %s\n", e.what());
    return e.exit_code();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench: %s\n", e.what());
    return 1;
  }
}
