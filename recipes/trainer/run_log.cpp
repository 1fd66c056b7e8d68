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

// Lines that could not be written wait for the next one, up to this many bytes.
constexpr size_t kMaxWaiting = 1 << 20;

template <class F> void or_warn(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    log::warn_once("run_log", fmt::format("{}; training goes on, and the log is tried again", e.what()));
  }
}

}  // namespace

void RunLog::LineFile::write(Disk& disk, const std::string& line) {
  if (waiting.size() < kMaxWaiting) waiting += line;
  or_warn([&] {
    if (file == nullptr) file = open(disk);
    if (waiting.empty()) return;
    file->write(waiting.data(), waiting.size());
    waiting.clear();
  });
}

RunLog::RunLog(const std::string& run, int64_t resumed_step, Disk& disk) : disk_(disk) {
  steps_.open = [path = run + "/log.jsonl", resumed_step](Disk& d) {
    keep_lines(d, path, [&](const Json& line) {
      const auto step = line.find("step");
      return step != line.end() && step->is_number_integer() && *step <= resumed_step;
    });
    return d.append(path);
  };
  bad_.open = [this, path = run + "/bad_samples.jsonl"](Disk& d) {
    std::set<int64_t> in_file;  // not listed_, which a first try may have filled
    keep_lines(d, path, [&](const Json& line) {
      const auto index = line.find("index");
      return index != line.end() && index->is_number_integer() &&
             in_file.insert(index->get<int64_t>()).second;
    });
    auto file = d.append(path);
    listed_.merge(in_file);
    return file;
  };
  steps_.write(disk_, "");
  bad_.write(disk_, "");
}

RunLog::~RunLog() {
  for (LineFile* lines : {&steps_, &bad_}) {
    if (!lines->waiting.empty()) lines->write(disk_, "");
  }
}

void RunLog::step(int64_t step, const NamedValues& values, const NamedValues& time) {
  std::string line = fmt::format("{{\"step\":{}", step);
  if (!values.empty()) line += "," + members(values);
  if (!time.empty()) line += ",\"time\":{" + members(time) + "}";
  steps_.write(disk_, line + "}\n");
}

void RunLog::sync() {
  for (LineFile* lines : {&steps_, &bad_}) {
    lines->write(disk_, "");
    if (lines->file) or_warn([&] { lines->file->sync(); });
  }
}

void RunLog::skipped(int64_t step, const std::string& why) {
  steps_.write(disk_, fmt::format("{{\"step\":{},\"skipped\":true,{}}}\n", step, why));
}

void RunLog::bad_sample(int64_t index, const std::string& line) {
  if (listed_.insert(index).second) bad_.write(disk_, line + "\n");
}

}  // namespace tessera
