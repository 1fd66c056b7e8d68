// parity FILE.safetensors ...: what the official code computed against what Tessera computes.
// 0: every key within its limit; 1: a limit exceeded or a key left unread; 2: an option that is not known.
#include <fmt/format.h>

#include <new>
#include <string>

#include "engine/parallel.h"
#include "recipes/trainer/parity.h"

namespace {

constexpr const char* kUsage =
    "usage: parity [--bf16] [--quiet] FILE.safetensors ...\n"
    "Compares fixture files (tests/golden, or your own of the same kind) with this build, key by key.\n"
    "The file's own __metadata__.config says what to build; its name says nothing.\n"
    "  --bf16   run in bf16: loss within 1e-2, gradients by cosine; the rest is listed as not compared\n"
    "  --quiet  print failures and the summary only\n"
    "exit code: 0 all within limits, 1 a limit exceeded or a key left unread, 2 an option that is not "
    "known\n";

int run(const std::string& path, tessera::Precision precision, bool verbose) {
  fmt::print("{}\n", path);
  try {
    return tessera::report_parity(tessera::run_parity(path, precision), verbose);
  } catch (const tessera::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return e.exit_code();
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "{}: out of memory\n", path);
    return static_cast<int>(tessera::ErrorKind::memory);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: unexpected: {}\n", path, e.what());
    return static_cast<int>(tessera::ErrorKind::internal);
  }
}

}  // namespace

int main(int argc, char** argv) {
  tessera::wait_passively(argv);
  tessera::Precision precision = tessera::Precision::f32();
  bool verbose = true;
  int worst = -1;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--bf16") {
      precision = tessera::Precision::bf16();
    } else if (arg == "--quiet") {
      verbose = false;
    } else if (arg == "--help" || arg == "-h") {
      fmt::print("{}", kUsage);
      return 0;
    } else if (arg.starts_with("-")) {
      fmt::print(stderr, "parity: {} is not known\n{}", arg, kUsage);
      return 2;
    } else {
      worst = std::max(worst, run(arg, precision, verbose));
    }
  }
  if (worst < 0) fmt::print(stderr, "{}", kUsage);
  return worst < 0 ? 2 : worst;
}
