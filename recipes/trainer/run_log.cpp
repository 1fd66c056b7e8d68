// Keeps and writes the run's JSON lines.
#include "recipes/trainer/run_log.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/log.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxLog = size_t{4} << 30;

std::string number(double x) {
  if (std::isfinite(x)) return fmt::format("{}", x);
  return std::isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"";
}

std::string members(const NamedValues& values) {
  std::string out;
  for (const auto& [name, value] : values) {
    if (!out.empty()) out += ",";
    out += fmt::format("{}:{}", Json(name).dump(), number(value));
  }
  return out;
}

// Calls keep(line as JSON) on each whole line of the file; rewrites the file if any is not to be kept.
// A line torn by a kill is not kept.
template <class F> void keep_lines(Disk& disk, const std::string& path, F&& keep) {
  if (!std::filesystem::exists(path)) return;
  const std::string text = read_text(path, kMaxLog);
  std::string kept;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                  text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_object() && keep(line)) kept.append(text, begin, end + 1 - begin);
    begin = end + 1;
  }
  if (kept.size() != text.size()) replace_file(disk, path, kept);
}

template <class F> void or_warn(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    log::warn_once("run_log", fmt::format("{}; training goes on without this log", e.what()));
  }
}

void write_line(Disk::File* file, const std::string& line) {
  if (file) or_warn([&] { file->write(line.data(), line.size()); });
}

}  // namespace

RunLog::RunLog(const std::string& run, int64_t resumed_step, Disk& disk) {
  const std::string steps = run + "/log.jsonl", bad = run + "/bad_samples.jsonl";
  or_warn([&] {
    keep_lines(disk, steps, [&](const Json& line) {
      const auto step = line.find("step");
      return step != line.end() && step->is_number_integer() && *step <= resumed_step;
    });
    steps_ = disk.append(steps);
  });
  or_warn([&] {
    keep_lines(disk, bad, [&](const Json& line) {
      const auto index = line.find("index");
      return index != line.end() && index->is_number_integer() &&
             listed_.insert(index->get<int64_t>()).second;
    });
    bad_ = disk.append(bad);
  });
}

void RunLog::step(int64_t step, const NamedValues& values, const NamedValues& time) {
  std::string line = fmt::format("{{\"step\":{}", step);
  if (!values.empty()) line += "," + members(values);
  if (!time.empty()) line += ",\"time\":{" + members(time) + "}";
  write_line(steps_.get(), line + "}\n");
}

void RunLog::sync() {
  for (Disk::File* file : {steps_.get(), bad_.get()}) {
    if (file) or_warn([&] { file->sync(); });
  }
}

void RunLog::bad_sample(int64_t index, const std::string& line) {
  if (listed_.insert(index).second) write_line(bad_.get(), line + "\n");
}

}  // namespace tessera
