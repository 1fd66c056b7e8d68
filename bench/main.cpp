// bench: how fast the kernels are on this machine, beside what the machine could do.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/bench.h"
#include "engine/parallel.h"
#include "engine/require.h"
#include "recipes/trainer/version.h"

int main(int argc, char** argv) {
  using namespace tessera;
  wait_passively(argv);
  CLI::App app("Measures kernels against the machine's own multiply and memory rates.", "bench");
  app.require_subcommand(1);
  app.set_version_flag("--version", version_text("bench"));

  int most_threads = threads();
  CLI::App* roof = app.add_subcommand("roof", "multiply and memory rates for 1..N threads");
  roof->add_option("--threads", most_threads, "N; default: as many as OpenMP would use")
      ->check(CLI::Range(1, 1024));

  bench::OpsOptions options;
  options.threads = threads();
  CLI::App* ops = app.add_subcommand("ops", "every op at the sizes of real models");
  ops->add_option("--filter", options.filter, "only ops whose name contains this");
  ops->add_option("--threads", options.threads,
                  "default: as many as OpenMP would use; 1 is timed in CPU time")
      ->check(CLI::Range(1, 1024));
  ops->add_option("--seconds", options.seconds, "spent on each row")->check(CLI::PositiveNumber);
  ops->add_flag("--smoke", options.smoke, "each row once: does it run?");
  ops->add_option("--json", options.json, "also write the figures to this file");

  bench::DataOptions pictures;
  CLI::App* data = app.add_subcommand("data", "pictures from files to what a model sees");
  data->add_option("--files", pictures.files,
                   "a folder of pictures, a folder of such folders, or a list; default: made-up photos");
  data->add_option("--write", pictures.write, "keep the made-up photos in this folder")->excludes("--files");
  data->add_option("--threads", pictures.threads, "workers of the loader")->check(CLI::Range(0, 1024));
  data->add_option("--seconds", pictures.seconds, "spent on each row")->check(CLI::PositiveNumber);
  data->add_option("--json", pictures.json, "also write the figures and the crops to this file");

  try {
    app.parse(argc, argv);
    if (roof->parsed()) return bench::run_roof(most_threads);
    return data->parsed() ? bench::run_data(pictures) : bench::run_ops(options);
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
