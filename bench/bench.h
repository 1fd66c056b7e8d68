// What the subcommands of `bench` share.
#pragma once

#include <cstdint>
#include <string>

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

}  // namespace tessera::bench
