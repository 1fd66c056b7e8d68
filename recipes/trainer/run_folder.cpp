// Opens the folder of a run without ever deleting what is not a run's.
#include "recipes/trainer/run_folder.h"

#include <ctime>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "engine/check.h"
#include "engine/log.h"
#include "engine/parallel.h"
#include "recipes/trainer/strict_yaml.h"
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

// Keys that a resumed run may change: the weights it ends with do not depend on them. All others do.
bool harmless(const std::string& key) {
  static const std::set<std::string> kKeys = {
      "data.workers",          "data.prefetch",    // batches come in the sampler's order whatever makes them
      "data.max_bad_fraction", "train.max_skips",  // when a run gives up
      "train.max_steps",                           // where it stops; the schedule follows train.epochs
      "train.threads",         "train.device",     "train.recompute",  // how the same numbers are computed
      "train.log_every",       "train.save_every", "train.picture_every", "train.keep"};  // what is written
  return kKeys.contains(key);
}

// Key and value of every leaf below `node`, in order.
void flatten(const YamlNode& node, const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& to) {
  for (const auto& [key, value] : node.fields) {
    const std::string name = prefix + key.text;
    if (value.kind == YamlNode::map) {
      flatten(value, name + ".", to);
    } else if (value.kind == YamlNode::list) {
      std::string items;
      for (const YamlNode& item : value.items) items += (items.empty() ? "" : ", ") + item.text;
      to.emplace_back(name, "[" + items + "]");
    } else {
      to.emplace_back(name, value.quoted && value.text.empty() ? "\"\"" : value.text);
    }
  }
}

struct Changes {
  std::string harmless, fatal;  // "data.workers was 2, is 4; ..."
};

// A key that the earlier build did not know counts as harmless: new keys begin with what was done before.
Changes compare(const std::string& before, const std::string& path, const std::string& now) {
  std::vector<std::pair<std::string, std::string>> was, is;
  flatten(parse_strict_yaml(before, path), "", was);
  flatten(parse_strict_yaml(now, "the configuration"), "", is);
  const std::map<std::string, std::string> old_values(was.begin(), was.end()),
      new_values(is.begin(), is.end());
  Changes c;
  const auto add = [](std::string& to, const std::string& text) { to += (to.empty() ? "" : "; ") + text; };
  for (const auto& [key, value] : is) {
    const auto old = old_values.find(key);
    if (old == old_values.end()) {
      add(c.harmless, fmt::format("{} is new, {}", key, value));
    } else if (old->second != value) {
      add(harmless(key) ? c.harmless : c.fatal, fmt::format("{} was {}, is {}", key, old->second, value));
    }
  }
  for (const auto& [key, value] : was) {
    if (!new_values.contains(key)) add(c.fatal, fmt::format("{} was {}, is gone", key, value));
  }
  return c;
}

// Throws as open_run_folder does; returns the harmless changes.
std::string refuse_or_compare(const std::string& path, Existing existing, const std::string& config,
                              Disk& disk) {
  std::error_code error;  // a name too long, say: make_lasting_directory() finds the words
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    fail(ErrorKind::config, "--out {}: is not a folder", path);
  if (disk.list(path).empty()) return "";
  const std::string config_path = path + "/" + kConfigFile;
  if (existing == Existing::refuse) {
    fail(ErrorKind::config, "--out {}: not empty; --resume continues it, --overwrite starts over", path);
  }
  if (!fs::exists(config_path) && !fs::exists(config_path + ".tmp")) {
    fail(ErrorKind::config,
         "--out {}: not empty, and no run lies there ({} is missing); choose another folder", path,
         kConfigFile);
  }
  if (existing != Existing::resume || !fs::exists(config_path)) return "";
  const Changes c = compare(read_text(config_path, kMaxConfig), config_path, config);
  if (!c.fatal.empty()) {
    fail(ErrorKind::config,
         "--out {}: --resume with another configuration: {}. Give the earlier values; or begin a run from "
         "these "
         "weights, with another --out and --init-from {}",
         path, c.fatal, path);
  }
  return c.harmless;
}

}  // namespace

void check_run_folder(const std::string& path, Existing existing, const std::string& config) {
  refuse_or_compare(path, existing, config, real_disk());
}

void open_run_folder(const std::string& path, Existing existing, const std::string& config, Disk& disk) {
  const std::string changes = refuse_or_compare(path, existing, config, disk);
  if (!changes.empty()) log::info("resuming with other settings: " + changes);
  make_lasting_directory(disk, path);
  if (existing == Existing::overwrite) {
    for (const Disk::Entry& e : disk.list(path)) {
      // The configuration marks the folder as a run's until the new one replaces it.
      if (written_by_a_run(e.name) && e.name != kConfigFile) remove_tree(disk, path + "/" + e.name);
    }
  }
  replace_file(disk, path + "/" + kConfigFile, config);
  try {
    replace_file(disk, path + "/env.json", environment());
  } catch (const Error& e) {  // for people only
    log::warning(fmt::format("{}; training goes on without it", e.what()));
  }
}

}  // namespace tessera
