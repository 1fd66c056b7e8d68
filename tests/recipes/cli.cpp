// Command lines: what reaches a command, what is refused with which code; signals.
#include "recipes/trainer/cli.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <new>

#include "engine/log.h"
#include "recipes/trainer/signals.h"
#include "recipes/trainer/version.h"
#include "tests/recipes/program.h"

namespace tessera {
namespace {

using Result = test::Ran;
using test::Scratch;
using test::spill;

struct Tiny {
  int epochs = 3;
  std::string device = "cpu";
  template <class V> void fields(V& v) {
    v("epochs", epochs, Range{1, 100}, "passes over the data");
    v("device", device);
  }
};

struct Seen {
  int calls = 0;
  Tiny config;
  Invocation call;
};

std::vector<Command> commands(Seen& seen) {
  const auto run = [&seen](Tiny& c, const ConfigSources&, const Invocation& call) {
    seen = {seen.calls + 1, c, call};
    return 0;
  };
  return {command<Tiny>("pretrain", "trains", run), command<Tiny>("visualize", "shows", run, Takes::input)};
}

template <class F> Result failing(F f) {
  return test::run_program({}, {{"",
                                 "fails",
                                 [f](const Invocation&) -> int {
                                   f();
                                   return 0;
                                 },
                                 {}}});
}

}  // namespace

TEST_CASE("recipes/cli: preset, overrides and flags reach the command") {
  const Scratch scratch;
  spill(scratch / "a=b.yaml", "epochs: 7\n");
  Seen seen;
  const Result r = test::run_program(
      {"pretrain", scratch / "a=b.yaml", "epochs=8", "--out", "runs/x", "device=list:/a=b", "--resume",
       "--dry-run", "--init-from", "w.safetensors"},
      commands(seen));
  CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(seen.calls == 1);
  CHECK(seen.config.epochs == 8);
  CHECK(seen.config.device == "list:/a=b");
  CHECK(seen.call.program == "mae");
  CHECK(seen.call.command == "pretrain");
  CHECK(seen.call.preset == scratch / "a=b.yaml");
  CHECK(seen.call.overrides == std::vector<std::string>{"epochs=8", "device=list:/a=b"});
  CHECK(seen.call.out == "runs/x");
  CHECK(seen.call.init_from == "w.safetensors");
  CHECK(seen.call.existing == Existing::resume);
  CHECK(seen.call.dry_run);
  test::run_program({"pretrain", "--overwrite"}, commands(seen));
  CHECK(seen.call.existing == Existing::overwrite);
  CHECK(seen.call.preset == "");
  test::run_program({"visualize", "runs/x", "--out", "a.png"},
                    commands(seen));  // a path that need not be a file
  CHECK(seen.call.command == "visualize");
  CHECK(seen.call.input == "runs/x");
  CHECK(seen.call.preset == "");
}

TEST_CASE("recipes/cli: what is refused leaves with 2 and one line") {
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{}, "error: A subcommand is required; see mae --help\n"},
      {{"train"}, "error: "},
      {{"pretrain", "--fast"}, "error: The following argument was not expected: --fast; see mae --help\n"},
      {{"visualize", "x", "--resume"},
       "error: The following argument was not expected: --resume; see mae --help\n"},
      {{"pretrain", "--resume", "--overwrite"}, "error: --resume excludes --overwrite; see mae --help\n"},
      {{"pretrain", "--out"}, "error: --out: 1 required PATH missing; see mae --help\n"},
      {{"pretrain", "vit_x"}, "error: no preset \"vit_x\": neither a file nor a known name ("},
      {{"pretrain", "/"}, "error: no preset \"/\": neither a file nor a known name ("},
      {{"pretrain", "epoch=3"}, "error: command line: unknown key \"epoch\"; did you mean \"epochs\"?\n"},
      {{"pretrain", "epochs=0"},
       "error: command line: epochs: \"0\" is out of range; it must be >= 1 and <= 100\n"},
      {{"pretrain", "--print-config", "epochs=x"}, "error: command line: epochs: \"x\" is not an integer\n"},
  };
  for (const auto& [arguments, says] : rows) {
    Seen seen;
    const Result r = test::run_program(arguments, commands(seen));
    CHECK(r.code == 2);
    CHECK_MESSAGE(r.err.starts_with(says), r.err);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
    CHECK(seen.calls == 0);
  }
  const Scratch scratch;
  spill(scratch / "a.yaml", "epochs: 1\n");
  Seen seen;
  CHECK(test::has(test::run_program({"pretrain", scratch / "a.yaml", scratch / "a.yaml"}, commands(seen)).err,
                  "is too much"));
}

TEST_CASE("recipes/cli: help, version, configuration") {
  Seen seen;
  const Result help = test::run_program({"pretrain", "--help"}, commands(seen));
  CHECK(help.code == 0);
  CHECK_MESSAGE(test::has(help.out, "epochs=3  (int >= 1 and <= 100)  passes over the data"), help.out);
  for (const char* flag :
       {"--out", "--resume", "--overwrite", "--init-from", "--dry-run", "--print-config", "--version"}) {
    CHECK(test::has(help.out, flag));
  }
  CHECK(test::has(test::run_program({"--help"}, commands(seen)).out, "visualize"));
  for (const std::vector<std::string>& a :
       {std::vector<std::string>{"--version"}, {"pretrain", "--version"}}) {
    const Result r = test::run_program(a, commands(seen));
    CHECK(r.code == 0);
    CHECK(test::has(r.out, code_version()));
    CHECK(test::has(r.out, instruction_set()));
  }
  CHECK(test::run_program({"pretrain", "epochs=9", "--print-config"}, commands(seen)).out ==
        "epochs: 9\ndevice: cpu\n");
  CHECK(seen.calls == 0);
}

TEST_CASE("recipes/cli: every kind of error has its exit code and one line") {
  for (int code = 1; code <= 8; ++code) {
    const Result r = failing([code] { throw Error(static_cast<ErrorKind>(code), "x.jpg: broken"); });
    CHECK(r.code == code);
    CHECK(r.err == "error: x.jpg: broken\n");
  }
  CHECK(failing([] { throw std::bad_alloc(); }).code == 6);
  CHECK(failing([] { throw std::runtime_error("odd"); }).code == 1);
  CHECK(failing([] { throw std::runtime_error("odd"); }).err == "error: unexpected: odd\n");
  CHECK(failing([] { throw 3; }).code == 1);
  CHECK(failing([] {}).code == 0);
  CHECK(
      test::run_program({}, {{"", "preempted", [](const Invocation&) { return kExitPreempted; }, {}}}).code ==
      75);
}

TEST_CASE("recipes/signals: the first asks, the second SIGTERM or SIGINT leaves at once") {
  // In a child each: what it saw as exit code, or the signal that ended it.
  const auto child = [](auto&& f) {
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      watch_signals();
      f();
      _exit(leave_requested());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  };
  CHECK(child([] {}) == 0);
  for (int s : {SIGTERM, SIGINT, SIGUSR1}) CHECK(child([s] { raise(s); }) == s);
  for (int s : {SIGTERM, SIGINT}) CHECK(child([s] { raise(s), raise(s); }) == -s);
  CHECK(child([] { raise(SIGTERM), raise(SIGINT); }) == -SIGINT);
  CHECK(child([] { raise(SIGUSR1), raise(SIGUSR1), raise(SIGTERM); }) ==
        SIGTERM);  // two warnings, then a stop
  CHECK(child([] { raise(SIGTERM), raise(SIGUSR1), raise(SIGTERM); }) == -SIGTERM);
  CHECK(std::string(signal_name(SIGUSR1)) == "SIGUSR1");
}

}  // namespace tessera
