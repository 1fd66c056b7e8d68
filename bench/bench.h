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

}  // namespace tessera::bench
