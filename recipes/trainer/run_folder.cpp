// Opens the folder of a run without ever deleting what is not a run's.
#include "recipes/trainer/run_folder.h"

#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/check.h"
#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/trainer/version.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "config.resolved.yaml";
constexpr size_t kMaxConfig = 1 << 20;

bool written_by_a_run(const std::string& name) {
  static const char* kNames[] = {"checkpoints",
                                 "vis",
                                 "log.jsonl",
                                 "bad_samples.jsonl",
                                 "env.json",
                                 "trace.json",
                                 "config.resolved.yaml",
                                 "config.resolved.yaml.tmp"};
  for (const char* n : kNames) {
    if (name == n) return true;
  }
  return name.starts_with("events.out.tfevents.");
}

std::string environment() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char started[32];
  std::strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return nlohmann::ordered_json{
             {"commit", code_version()}, {"flags", build_flags()}, {"instruction_set", instruction_set()},
             {"cpu", cpu_name()},        {"threads", threads()},   {"started", started}}
             .dump(2) +
         "\n";
}

// Says which lines of the configuration differ from the earlier run's.
void warn_of_changes(const std::string& before, const std::string& now) {
  std::istringstream a(before), b(now);
  std::string was, is, changes;
  while (true) {
    const bool more = static_cast<bool>(std::getline(a, was)),
               more_now = static_cast<bool>(std::getline(b, is));
    if (!more && !more_now) break;
    if (more != more_now) changes += "; another number of keys";
    if (more != more_now) break;
    if (was != is) changes += fmt::format("; was \"{}\", is \"{}\"", was, is);
  }
  if (!changes.empty()) log::warning("resuming with another configuration" + changes);
}

}  // namespace

void open_run_folder(const std::string& path, Existing existing, const std::string& config, Disk& disk) {
  std::error_code error;  // a name too long, say: make_directory() finds the words
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    fail(ErrorKind::config, "--out {}: is not a folder", path);
  const auto entries = disk.list(path);
  const std::string config_path = path + "/" + kConfigFile;
  if (!entries.empty()) {
    if (existing == Existing::refuse) {
      fail(ErrorKind::config, "--out {}: not empty; --resume continues it, --overwrite starts over", path);
    }
    if (!fs::exists(config_path) && !fs::exists(config_path + ".tmp")) {
      fail(ErrorKind::config,
           "--out {}: not empty, and no run lies there ({} is missing); choose another folder", path,
           kConfigFile);
    }
  }
  disk.make_directory(path);
  if (existing == Existing::overwrite) {
    for (const Disk::Entry& e : entries) {
      // The configuration marks the folder as a run's until the new one replaces it.
      if (written_by_a_run(e.name) && e.name != kConfigFile) remove_tree(disk, path + "/" + e.name);
    }
  } else if (existing == Existing::resume && fs::exists(config_path)) {
    warn_of_changes(read_text(config_path, kMaxConfig), config);
  }
  replace_file(disk, config_path, config);
  replace_file(disk, path + "/env.json", environment());
}

}  // namespace tessera
