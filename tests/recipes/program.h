// One invocation of a program inside the test: its exit code, and what it printed.
#pragma once

#include <doctest/doctest.h>

#include <iostream>
#include <string>
#include <vector>

#include "recipes/trainer/cli.h"
#include "tests/recipes/scratch.h"

namespace tessera::test {

struct Ran {
  int code;
  std::string out, err;
};

inline Ran run_program(const std::vector<std::string>& arguments, const std::vector<Command>& list,
                       const std::string& program = "mae") {
  const Scratch scratch;
  std::fflush(stdout);
  std::fflush(stderr);
  const int out = dup(1), err = dup(2);
  REQUIRE(std::freopen((scratch / "out").c_str(), "w", stdout));
  REQUIRE(std::freopen((scratch / "err").c_str(), "w", stderr));
  Ran r{dispatch(arguments, program, list), "", ""};
  std::fflush(stdout);
  std::fflush(stderr);
  std::cout.flush();
  dup2(out, 1);
  dup2(err, 2);
  close(out);
  close(err);
  r.out = slurp(scratch / "out");
  r.err = slurp(scratch / "err");
  return r;
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace tessera::test
