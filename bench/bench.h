// What the subcommands of `bench` share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::bench {

// `bench roof`: the roof for 1..n threads.
int run_roof(int most_threads);

struct OpsOptions {
  std::string filter;  // part of an op's name
  int threads = 1;
  double seconds = 0.3;  // spent on each row
  std::string json;      // path; "" writes none
  bool smoke = false;    // once each, to see that every row runs
};
// `bench ops`: the bench rows of every op's cases.
int run_ops(const OpsOptions& options);

struct DataOptions {
  std::string files;     // a folder or a list; "": made-up photos
  std::string write;     // where those are kept; "": nowhere
  std::string json;      // path; "" writes none
  int threads = 1;       // the loader's workers
  double seconds = 2.0;  // spent on each row
};
// `bench data`: milliseconds of CPU per picture, by part, and the loader's rate. Throws Error(data) when
// files cannot be read or written.
int run_data(const DataOptions& options);

struct StepOptions {
  std::vector<std::string> presets = {"vit_b", "vit_l"};  // of recipes/mae, or paths
  std::vector<std::string> overrides;                     // key=value, as for a training command
  std::vector<int64_t> batches = {8, 32};
  std::vector<std::string> precisions = {"f32", "bf16"};
  std::vector<int> threads;
  int64_t steps = 5;  // timed, after three that are not
  std::string json;   // path; "" writes none
  double most = 0;    // not 0: fail if a row takes more than this many times its floor
};
// `bench step`: optimiser steps on noise pictures, a row for every combination, each in its own process.
int run_step(const StepOptions& options);

// One row, in this process; prints it as one line of JSON.
struct StepRow {
  std::string preset;
  std::vector<std::string> overrides;
  int threads = 1;
  int64_t steps = 5;
};
int run_step_row(const StepRow& row);

}  // namespace tessera::bench
