// Makes the pictures and the preset, starts runs, compares what they leave.
#include "tests/campaign/run.h"

#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/write_png.h"
#include "engine/check.h"
#include "recipes/trainer/checkpoint.h"
#include "recipes/trainer/disk.h"
#include "tests/data/pictures.h"

namespace tessera::campaign {
namespace {

namespace fs = std::filesystem;

constexpr double kTooLong = 60;  // seconds; a run takes about one

std::string preset(const std::string& pictures) {
  return fmt::format(
      "model: {{name: tiny, patch: 8, dim: 32, depth: 2, heads: 2, decoder_dim: 16, decoder_depth: 1, "
      "decoder_heads: 2}}\n"
      "data: {{train: \"flat:{}\", height: 32, width: 40, channels: 3, transform: crop, flip: 0.5, "
      "max_bad_fraction: 0.5}}\n"
      "optim: {{blr: 0.02, warmup_epochs: 1}}\n"
      "train: {{epochs: {}, batch: {}, accumulate: {}, log_every: 1, save_every: {}, picture_every: {}, "
      "keep: {}}}\n",
      pictures, kEpochs, kBatch, kAccumulate, kSaveEvery, kPictureEvery, kKeep);
}

void make_pictures(const std::string& folder) {
  fs::create_directories(folder);
  for (int i = 0; i < kPictures; ++i) {
    const std::string path = fmt::format("{}/{:02}.{}", folder, i, i % 2 == 0 ? "jpg" : "png");
    const Picture picture = test::test_picture(48 + i, 60 - i, 3, static_cast<uint64_t>(i));
    std::string bytes = i % 2 == 0 ? test::encode_jpeg(picture) : encode_png(picture);
    if (i == 7) bytes.resize(60);  // broken, so that a substitute and bad_samples.jsonl take part
    replace_file(real_disk(), path, bytes);
  }
}

std::string text_of(const std::string& path) {
  return fs::exists(path) ? read_text(path, size_t{1} << 30) : "";
}

// log.jsonl without what depends on the clock, one entry a line.
std::vector<std::string> log_lines(const std::string& run) {
  std::vector<std::string> lines;
  std::istringstream in(text_of(run + "/log.jsonl"));
  for (std::string line; std::getline(in, line);) {
    nlohmann::ordered_json fields = nlohmann::ordered_json::parse(line, nullptr, false);
    if (fields.is_object()) fields.erase("time");
    lines.push_back(fields.is_object() ? fields.dump() : "not JSON: " + line);
  }
  return lines;
}

std::string different_logs(const std::string& whole, const std::string& other) {
  const std::vector<std::string> a = log_lines(whole), b = log_lines(other);
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i] != b[i]) return fmt::format("log.jsonl line {}: {} became {}", i + 1, a[i], b[i]);
  }
  if (a.size() != b.size()) return fmt::format("log.jsonl has {} lines, not {}", b.size(), a.size());
  return a.size() == kSteps ? "" : fmt::format("log.jsonl has {} lines of {} steps", a.size(), kSteps);
}

std::string different_tensors(const SafeTensors& a, const SafeTensors& b) {
  if (a.tensors.size() != b.tensors.size()) return "another number of tensors";
  for (const auto& [name, t] : a.tensors) {
    const Tensor* o = b.find(name);
    if (o == nullptr || o->dtype() != t.dtype() || o->shape() != t.shape() ||
        std::memcmp(o->raw(), t.raw(), static_cast<size_t>(t.bytes())) != 0)
      return fmt::format("tensor {} differs", name);
  }
  return "";
}

std::string different_checkpoints(const std::string& whole, const std::string& other, bool files) {
  const std::string step = fmt::format("/checkpoints/step-{}", kSteps);
  if (!fs::exists(other + step)) return fmt::format("no checkpoint of step {}", kSteps);
  const Checkpoint a = load_checkpoint(whole + step), b = load_checkpoint(other + step);
  std::string different = different_tensors(a.model, b.model);
  if (different.empty()) different = different_tensors(a.optimizer, b.optimizer);
  for (const char* name : {"/model.safetensors", "/optimizer.safetensors"}) {
    if (different.empty() && files && text_of(whole + step + name) != text_of(other + step + name))
      different = fmt::format("{} differs in its bytes", name + 1);
  }
  return different;
}

std::string different_pictures(const std::string& whole, const std::string& other, bool more) {
  std::set<std::string> names, found;
  for (const Disk::Entry& e : real_disk().list(whole + "/vis")) names.insert(e.name);
  for (const Disk::Entry& e : real_disk().list(other + "/vis")) found.insert(e.name);
  if (names.empty()) return "the unbroken run drew no pictures";
  if (!more && names != found) return "other pictures in vis/";
  for (const std::string& name : names) {
    if (text_of(whole + "/vis/" + name) != text_of(other + "/vis/" + name))
      return fmt::format("vis/{} differs", name);
  }
  return "";
}

// What a finished run must not leave: anything temporary, and more generations than asked for.
std::string left_behind(const std::string& run) {
  int64_t generations = 0;
  for (const Disk::Entry& e : real_disk().list(run + "/checkpoints")) {
    if (!e.name.starts_with("step-")) return "left behind: checkpoints/" + e.name;
    ++generations;
  }
  for (const auto& e : fs::recursive_directory_iterator(run)) {
    if (e.path().filename().string().find(".tmp") != std::string::npos)
      return "left behind: " + e.path().string();
  }
  return generations == kKeep ? "" : fmt::format("{} checkpoints, not {}", generations, kKeep);
}

std::string different_curves(const std::string& whole, const std::string& other) {
  Curves a = read_events(whole), b = read_events(other);
  a.erase("img_per_s");
  for (const auto& [step, speed] : b["img_per_s"]) {
    if (!(speed > 0)) return fmt::format("TensorBoard: img_per_s at step {} is {}", step, speed);
  }
  if (b["img_per_s"].size() != kSteps) return "TensorBoard: img_per_s lacks steps";
  b.erase("img_per_s");
  if (a["loss"].size() != kSteps) return "TensorBoard: the unbroken run lacks steps";
  b.erase("reconstruction"), a.erase("reconstruction");
  return a == b ? "" : "the TensorBoard curves differ";
}

}  // namespace

Bench::Bench(const std::string& mae) : mae_(mae) {
  if (!fs::is_regular_file(mae)) fail(ErrorKind::config, "{} is no binary; give --mae PATH", mae);
  folder_ = (fs::temp_directory_path() / "tessera-campaign-XXXXXX").string();
  if (mkdtemp(folder_.data()) == nullptr) fail(ErrorKind::io, "cannot make the folder {}", folder_);
  make_pictures(folder_ + "/pictures");
  replace_file(real_disk(), folder_ + "/tiny.yaml", preset(folder_ + "/pictures"));
  for (const char* precision : {"f32", "bf16"}) {
    const double begin = seconds_now();
    Variant v;
    v.precision = precision;
    const std::string run = folder(std::string("whole-") + precision);
    if (finish(run, v, false) != Ended{0}) {
      fail(ErrorKind::internal, "the unbroken run failed:\n{}", text_of(run + ".out"));
    }
    whole_[precision] = run;
    if (whole_.size() == 1) whole_seconds_ = seconds_now() - begin;
  }
}

Bench::~Bench() {
  std::error_code ignored;
  if (!keep_) fs::remove_all(folder_, ignored);
}

std::unique_ptr<Child> Bench::start(const std::string& run, const Variant& v, bool resume,
                                    const std::string& faults) const {
  std::vector<std::string> command = {mae_,
                                      "pretrain",
                                      folder_ + "/tiny.yaml",
                                      fmt::format("train.threads={}", v.threads),
                                      fmt::format("data.workers={}", v.workers),
                                      fmt::format("train.recompute={}", v.recompute),
                                      "train.precision=" + v.precision,
                                      fmt::format("train.max_steps={}", v.max_steps),
                                      "--out",
                                      run};
  if (resume) command.push_back("--resume");
  return std::make_unique<Child>(command, faults, run + ".out");
}

Ended Bench::finish(const std::string& run, const Variant& v, bool resume, const std::string& faults) const {
  return start(run, v, resume, faults)->wait(kTooLong).value_or(Ended{-1000});
}

int64_t logged_steps(const std::string& run) {
  const std::string text = text_of(run + "/log.jsonl");
  return std::count(text.begin(), text.end(), '\n');
}

int64_t latest_step(const std::string& run) {
  const LatestCheckpoint latest = load_latest(run);
  return latest.folder.empty() ? -1 : latest.content.info.step;
}

bool save_under_way(const std::string& run) {
  for (const Disk::Entry& e : real_disk().list(run + "/checkpoints")) {
    if (e.name.starts_with(".tmp-") || e.name.starts_with(".old-")) return true;
  }
  return false;
}

std::string difference(const std::string& whole, const std::string& other, const Compare& compare) {
  try {
    std::string d = different_checkpoints(whole, other, compare.files);
    if (d.empty()) d = different_logs(whole, other);
    if (d.empty() && text_of(whole + "/bad_samples.jsonl") != text_of(other + "/bad_samples.jsonl"))
      d = "bad_samples.jsonl differs";
    if (d.empty()) d = different_pictures(whole, other, compare.more_pictures);
    if (d.empty()) d = left_behind(other);
    if (d.empty()) d = different_curves(whole, other);
    return d;
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace tessera::campaign
