// Command lines by CLI11, and what becomes of errors.
#include "recipes/trainer/cli.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "engine/check.h"
#include "engine/fault.h"
#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/trainer/signals.h"
#include "recipes/trainer/version.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// "optim.blr=1e-3": lower-case dotted name, then '='. Anything else names a preset.
bool is_override(const std::string& text) {
  const size_t name = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.");
  return name != std::string::npos && name > 0 && text[name] == '=';
}

// What CLI11 fills in for one command.
struct Options {
  Invocation call;
  std::vector<std::string> arguments;
  bool resume = false, overwrite = false;
};

void declare(CLI::App& app, const Command& command, Options& o, const std::string& version) {
  app.add_option("arguments", o.arguments,
                 command.takes == Takes::input
                     ? "PATH key=value ...: what to work on, then settings"
                     : "PRESET key=value ...: a YAML file or known name, then overrides");
  if (command.takes != Takes::preset) {
    app.add_option("--out", o.call.out, command.takes == Takes::run ? "folder of the run" : "what to write")
        ->type_name("PATH");
  }
  if (command.takes == Takes::run) {
    CLI::Option* resume = app.add_flag("--resume", o.resume,
                                       "continue the run in --out from its latest checkpoint");
    app.add_flag("--overwrite", o.overwrite, "start over in --out")->excludes(resume);
    app.add_option("--init-from", o.call.init_from, "weights to start from: run, step folder or .safetensors")
        ->type_name("PATH");
    app.add_flag("--dry-run", o.call.dry_run, "say what would be done, and what it needs; train nothing");
    app.add_flag("--profile", o.call.profile,
                 "after the run: time, rates and share of the roof of every op; RUN/trace.json");
  }
  app.add_flag("--print-config", o.call.print_config, "print the resolved configuration and leave");
  app.set_version_flag("--version", version);
  constexpr const char* kEnvironment =
      "\nEnvironment:\n"
      "  OMP_NUM_THREADS            threads; the default is all cores\n"
      "  TESSERA_MEMORY_LIMIT=4G    most that tensors may take; the default is the machine's memory, 0 = "
      "none\n"
      "  TESSERA_PIN=0              does not pin threads to cores\n";
  if (command.config_help)
    app.footer([&command] { return "Keys:\n" + command.config_help() + kEnvironment; });
}

Invocation complete(Options o, const std::string& program, const Command& command) {
  o.call.program = program;
  o.call.command = command.name;
  std::string plain;  // the argument that is no override
  if (o.resume) o.call.existing = Existing::resume;
  if (o.overwrite) o.call.existing = Existing::overwrite;
  for (const std::string& argument : o.arguments) {
    if (is_override(argument)) {
      o.call.overrides.push_back(argument);
    } else if (plain.empty()) {
      plain = argument;
    } else {
      fail(ErrorKind::config, "one of \"{}\" and \"{}\" is too much; overrides are written key=value", plain,
           argument);
    }
  }
  if (command.takes == Takes::input) {
    o.call.input = plain;
  } else if (!plain.empty()) {
    o.call.preset = find_preset(plain, program);
  }
  return o.call;
}

int parse_and_run(const std::vector<std::string>& arguments, const std::string& program,
                  const std::vector<Command>& commands) {
  const std::string version = version_text(program);
  const bool nested = !(commands.size() == 1 && commands[0].name.empty());
  CLI::App app(nested ? "Tessera: " + program : commands[0].help, program);
  std::vector<Options> options(commands.size());
  std::vector<CLI::App*> apps;
  for (size_t i = 0; i < commands.size(); ++i) {
    apps.push_back(nested ? app.add_subcommand(commands[i].name, commands[i].help) : &app);
    declare(*apps[i], commands[i], options[i], version);
  }
  if (nested) app.set_version_flag("--version", version);
  if (nested) app.require_subcommand(1);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 wants them reversed
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    fail(ErrorKind::config, "{}; see {} --help", e.what(), program);
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    if (!apps[i]->parsed()) continue;
    const Invocation call = complete(options[i], program, commands[i]);
    // A run that is told to leave while it still builds its model saves its step 0 and says so, as later.
    if (commands[i].takes == Takes::run && !call.dry_run && !call.print_config) watch_signals();
    return commands[i].run(call);
  }
  return static_cast<int>(ErrorKind::internal);
}

}  // namespace

std::string find_preset(const std::string& given, const std::string& program) {
  std::error_code error;
  if (fs::is_regular_file(given, error)) return given;
  std::string name = given;
  if (name.ends_with(".yaml")) name.resize(name.size() - 5);
  const fs::path binary = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::string known;
  for (const fs::path& root : {binary, fs::path(TESSERA_SOURCE_DIR)}) {
    const fs::path folder = root / "recipes" / program;
    const fs::path path = folder / (name + ".yaml");
    if (fs::is_regular_file(path, error)) return path.string();
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      if (it->path().extension() == ".yaml")
        known += (known.empty() ? "" : ", ") + it->path().stem().string();
    }
  }
  fail(ErrorKind::config, "no preset \"{}\": neither a file nor a known name ({})", given,
       known.empty() ? "none are known" : known);
}

void print_to_stdout(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

int dispatch(const std::vector<std::string>& arguments, const std::string& program,
             const std::vector<Command>& commands) {
  try {
    fault::read_environment();
    return parse_and_run(arguments, program, commands);
  } catch (const Error& e) {
    log::error(e.what());
    return e.exit_code();
  } catch (const std::bad_alloc&) {
    log::error("out of memory, outside the tensor pool");
    return static_cast<int>(ErrorKind::memory);
  } catch (const std::exception& e) {
    log::error(fmt::format("unexpected: {}", e.what()));
  } catch (...) {
    log::error("unexpected: an exception of no known type");
  }
  return static_cast<int>(ErrorKind::internal);
}

int run_main(int argc, char** argv, const std::string& program, const std::vector<Command>& commands) {
  wait_passively(argv);
  return dispatch(std::vector<std::string>(argv + 1, argv + argc), program, commands);
}

}  // namespace tessera
