// The main() shared by the recipes: mae pretrain PRESET.yaml key=value ... --out DIR; errors become exit
// codes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "recipes/trainer/config.h"
#include "recipes/trainer/run_folder.h"

namespace tessera {

// A command line, parsed.
struct Invocation {
  std::string program;  // "mae"
  std::string command;  // "pretrain"; "" for a program without subcommands
  std::string preset;   // path of the YAML file; "" when none was given
  std::string input;    // Takes::input: what the command works on
  std::vector<std::string> overrides;
  std::string out;
  std::string init_from;
  bool dry_run = false, profile = false, print_config = false;
  Existing existing = Existing::refuse;
};

// What stands on the command line beside key=value, --print-config, --version and --help.
enum class Takes {
  run,     // PRESET --out --resume --overwrite --init-from --dry-run --profile
  preset,  // PRESET
  input,   // PATH --out
};

struct Command {
  std::string name;  // "" when the program has only one
  std::string help;
  std::function<int(const Invocation&)> run;  // returns the exit code
  std::function<std::string()> config_help;   // the list of keys for --help
  Takes takes = Takes::run;
};

// A command over a configuration struct: loads it, answers --print-config, then calls run(config, sources,
// call).
template <class Config>
Command command(std::string name, std::string help,
                std::function<int(Config&, const ConfigSources&, const Invocation&)> run,
                Takes takes = Takes::run);

// The whole main(): re-executes with passive waiting, then dispatch().
int run_main(int argc, char** argv, const std::string& program, const std::vector<Command>& commands);

// Parses `arguments` (without the program's name) and runs the command. Returns its exit code, or for an
// error the code of its kind, with one line on stderr. Arguments of the form key=value are overrides; the one
// that is not is the preset: a path, or the bare name of recipes/<program>/<name>.yaml beside the binary or
// in the source tree.
int dispatch(const std::vector<std::string>& arguments, const std::string& program,
             const std::vector<Command>& commands);

// The YAML file that `given` names: a path, or a preset of recipes/<program>. Throws Error(config) with the
// known names.
std::string find_preset(const std::string& given, const std::string& program);

void print_to_stdout(const std::string& text);

template <class Config>
Command command(std::string name, std::string help,
                std::function<int(Config&, const ConfigSources&, const Invocation&)> run, Takes takes) {
  Command c{std::move(name), std::move(help), {}, {}, takes};
  c.run = [run = std::move(run)](const Invocation& call) {
    Config config;
    const ConfigSources sources = load_config(config, call.preset, call.overrides);
    if (call.print_config) return print_to_stdout(to_yaml(config)), 0;
    return run(config, sources, call);
  };
  c.config_help = [] {
    Config config;
    return describe_config(fields_of(config));
  };
  return c;
}

}  // namespace tessera
