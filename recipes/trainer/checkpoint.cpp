// Writes a checkpoint so that a kill at any moment leaves an old or a new one, and reads back only what
// verifies.
#include "recipes/trainer/checkpoint.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/check.h"
#include "engine/fault.h"
#include "engine/log.h"
#include "recipes/trainer/manifest.h"
#include "recipes/trainer/version.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kManifestFile = "manifest.json";
constexpr size_t kMaxManifest = 64 << 20;

std::string checkpoints_of(const std::string& run) { return run + "/checkpoints"; }

// Step of a folder named step-N; -1 for any other name.
int64_t step_of(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  int64_t step = -1;
  if (!name.starts_with(kPrefix)) return -1;
  const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() ? step : -1;
}

// ---- before saving: is the state sound?

// First element that is NaN or infinite; -1 when there is none.
int64_t first_non_finite(const Tensor& t) {
  if (t.dtype() == DType::i32 || t.dtype() == DType::i64 || t.dtype() == DType::u8 ||
      t.dtype() == DType::boolean) {
    return -1;
  }
  const Tensor f = t.to(DType::f32);
  const float* x = f.data<float>();
  const auto bad = [x](int64_t i) { return (std::bit_cast<uint32_t>(x[i]) & 0x7f800000u) == 0x7f800000u; };
  constexpr int64_t kBlock = 4096;  // in blocks without an exit, which the compiler vectorises
  for (int64_t begin = 0; begin < f.numel(); begin += kBlock) {
    const int64_t end = std::min(f.numel(), begin + kBlock);
    bool any = false;
    for (int64_t i = begin; i < end; ++i) any |= bad(i);
    for (int64_t i = begin; any && i < end; ++i) {
      if (bad(i)) return i;
    }
  }
  return -1;
}

// "moment of tensor "x" is nan at element 3", or "" when all is finite.
std::string unsound(const Checkpoint& content) {
  for (const SafeTensors* part : {&content.model, &content.optimizer}) {
    for (const auto& [name, t] : part->tensors) {
      const int64_t at = first_non_finite(t);
      if (at < 0) continue;
      const float value = t.to(DType::f32).data<float>()[at];
      return fmt::format("{} of tensor \"{}\" is {} at element {}",
                         part == &content.model ? "value" : "moment", name, value, at);
    }
  }
  return "";
}

// ---- writing

ManifestFile write_tensors(Disk& disk, const std::string& folder, const char* name,
                           const SafeTensors& content) {
  const auto file = disk.create(folder + "/" + name);
  ManifestFile entry{name, "", {}};
  Checksum whole;
  std::vector<const std::string*> names;
  for (const auto& [tensor_name, t] : content.tensors) {
    if (t.bytes() > 0) names.push_back(&tensor_name);
  }
  std::string header;
  size_t pieces = 0;
  write_safetensors(content, [&](const void* data, size_t size) {
    file->write(data, size);
    whole.add(data, size);
    if (pieces < 2) {  // the length and the header are one part
      header.append(static_cast<const char*>(data), size);
      if (pieces == 1) entry.parts.push_back({"", header.size(), checksum(header.data(), header.size())});
    } else {
      entry.parts.push_back({*names.at(pieces - 2), size, checksum(data, size)});
    }
    ++pieces;
  });
  file->sync();
  fault::at("save.after_write");
  entry.sum = whole.sum();
  return entry;
}

void write_folder(Disk& disk, const std::string& folder, const Checkpoint& content) {
  disk.make_directory(folder);
  Manifest manifest{content.info, {}};
  SafeTensors model = content.model;
  model.metadata = info_to_metadata(content.info);
  manifest.files.push_back(write_tensors(disk, folder, kModelFile, model));
  manifest.files.push_back(write_tensors(disk, folder, kOptimizerFile, content.optimizer));
  const std::string text = write_manifest(manifest);
  const auto file = disk.create(folder + "/" + kManifestFile);
  file->write(text.data(), text.size());
  file->sync();
  fault::at("save.after_write");
  disk.sync_directory(folder);
}

// Nothing that goes wrong while tidying up may hide the error, or undo the success, that came before.
// Returns whether all went well.
template <class F> bool tidy(F&& f) {
  try {
    f();
    return true;
  } catch (const Error& e) {
    log::warning(e.what());
    return false;
  }
}

// Removes what killed or failed saves have left behind.
void remove_leftovers(Disk& disk, const std::string& folder) {
  for (const Disk::Entry& e : disk.list(folder)) {
    if (e.name.starts_with(".tmp-") || e.name.starts_with(".old-")) remove_tree(disk, folder + "/" + e.name);
  }
}

// Deletes step folders beyond the newest `keep` up to `step`, and leftovers.
// A folder is renamed first, so that half of one never looks like a checkpoint.
void delete_old(Disk& disk, const std::string& folder, int64_t step, int keep) {
  std::vector<int64_t> steps;
  for (const Disk::Entry& e : disk.list(folder)) {
    const int64_t s = step_of(e.name);
    if (s >= 0 && s <= step) steps.push_back(s);
  }
  std::sort(steps.rbegin(), steps.rend());
  for (size_t i = static_cast<size_t>(keep); i < steps.size(); ++i) {
    disk.rename(fmt::format("{}/step-{}", folder, steps[i]), fmt::format("{}/.old-{}", folder, steps[i]));
  }
  remove_leftovers(disk, folder);
}

// Throws unless the disk has room for `content` beside what is there: running into its end would take the log
// and the pictures along.
void check_room(Disk& disk, const std::string& folder, const std::string& name, const Checkpoint& content) {
  constexpr int64_t kMargin = 16 << 20;  // headers, the manifest, and the run's other files
  int64_t needed = kMargin;
  for (const SafeTensors* part : {&content.model, &content.optimizer}) {
    for (const auto& [tensor_name, t] : part->tensors) needed += t.bytes();
  }
  const int64_t room = disk.free_bytes(folder);
  if (room >= needed) return;
  fail(ErrorKind::io, "cannot write {}/{}: it needs {} MB and {} MB are free; make room on the disk", folder,
       name, (needed + 999'999) / 1'000'000, room / 1'000'000);
}

// Writes `content` as folder/name by way of a temporary folder.
void commit(Disk& disk, const std::string& folder, const std::string& name, const Checkpoint& content,
            const std::string& nonce) {
  const std::string temporary = fmt::format("{}/.tmp-{}-{}", folder, content.info.step, nonce);
  const std::string target = folder + "/" + name;
  try {
    make_lasting_directory(disk, folder);
    tidy([&] { remove_leftovers(disk, folder); });
    check_room(disk, folder, name, content);
    write_folder(disk, temporary, content);
    fault::at("save.before_rename");
    // A folder of this name is damaged, or of a run that went back; earlier generations cover the gap.
    if (fs::exists(target))
      disk.rename(target, fmt::format("{}/.old-{}-{}", folder, content.info.step, nonce));
    disk.rename(temporary, target);
    fault::at("save.after_rename");
    disk.sync_directory(folder);
  } catch (...) {
    tidy([&] { remove_tree(disk, temporary); });
    throw;
  }
}

// commit(), again when the disk refuses: much that ails a disk, above all a network's, passes.
void commit_patiently(Disk& disk, const std::string& folder, const std::string& name,
                      const Checkpoint& content) {
  constexpr std::chrono::milliseconds kWaits[] = {std::chrono::milliseconds(10),
                                                  std::chrono::milliseconds(500)};
  constexpr size_t kTries = std::size(kWaits) + 1;
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  for (size_t i = 1;; ++i) {
    try {
      return commit(disk, folder, name, content, fmt::format("{:x}-{:x}-{}", getpid(), now, i));
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::io) throw;
      if (i == kTries) {
        fail(ErrorKind::io,
             "{}/{} is not saved, after {} tries: {}. Earlier checkpoints stand: then --resume", folder, name,
             kTries, e.what());
      }
      log::warning(fmt::format("{}/{}: try {} of {}: {}", folder, name, i, kTries, e.what()));
    }
    std::this_thread::sleep_for(kWaits[i - 1]);
  }
}

// ---- reading

std::string name_of(const ManifestPart& part) {
  return part.name.empty() ? "the header" : fmt::format("tensor \"{}\"", part.name);
}

Manifest manifest_of(const std::string& folder) {
  const std::string path = folder + "/" + kManifestFile;
  if (!fs::exists(path))
    fail(ErrorKind::checkpoint, "{}: no {}; not a checkpoint, or an unfinished one", folder, kManifestFile);
  return read_manifest(read_text(path, kMaxManifest), path);
}

const ManifestFile& entry_of(const Manifest& manifest, const std::string& folder, const char* name) {
  for (const ManifestFile& f : manifest.files) {
    if (f.name == name) return f;
  }
  fail(ErrorKind::checkpoint, "{}: the manifest lists no {}", folder, name);
}

// The header's bytes as they lie in the file, whose length must be the manifest's.
std::string read_header(const std::string& path, const ManifestFile& entry) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail(ErrorKind::checkpoint, "{}: {}", path, std::strerror(errno));
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > entry.bytes() || entry.parts.empty())
    fail(ErrorKind::checkpoint, "{}: has {} bytes, the manifest says {}", path, size, entry.bytes());
  uint64_t end = 0;
  for (const ManifestPart& part : entry.parts) {
    end += part.bytes;
    if (size < end) fail(ErrorKind::checkpoint, "{}: ends inside {}", path, name_of(part));
  }
  std::string header(entry.parts[0].bytes, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(header.data(), static_cast<std::streamsize>(header.size())))
    fail(ErrorKind::io, "cannot read {}: {}", path, std::strerror(errno));
  return header;
}

// The tensors of a file. It is read once, and each part summed as it then lies in memory; the parts leave no
// gap, so their sums say all that the sum of the whole file would.
SafeTensors load_file(const std::string& folder, const ManifestFile& entry) {
  const std::string path = folder + "/" + entry.name;
  const auto damaged = [&](const std::string& what) {
    fail(ErrorKind::checkpoint, "{}: {} does not match its checksum", path, what);
  };
  const std::string header = read_header(path, entry);
  if (checksum(header.data(), header.size()) != entry.parts[0].sum) damaged("the header");
  SafeTensors content = load_safetensors(path);
  size_t part = 1;
  for (const auto& [name, t] : content.tensors) {
    if (t.bytes() == 0) continue;
    if (part >= entry.parts.size() || entry.parts[part].name != name ||
        entry.parts[part].sum != checksum(t.raw(), static_cast<size_t>(t.bytes()))) {
      damaged(fmt::format("tensor \"{}\"", name));
    }
    ++part;
  }
  if (part != entry.parts.size()) damaged(name_of(entry.parts[part]));
  return content;
}

// Calls load(folder) for the newest step folder, and for the one before when that is damaged, until one
// loads. Returns its folder, or "" when there are none.
template <class F> std::string load_newest(const std::string& run, F&& load) {
  const std::string folder = checkpoints_of(run);
  std::vector<int64_t> steps;
  for (const Disk::Entry& e : real_disk().list(folder)) {
    if (e.is_directory && step_of(e.name) >= 0) steps.push_back(step_of(e.name));
  }
  std::sort(steps.rbegin(), steps.rend());
  for (int64_t step : steps) {
    const std::string candidate = fmt::format("{}/step-{}", folder, step);
    try {
      load(candidate);
      return candidate;
    } catch (const UnknownFormat&) {
      throw;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::checkpoint && e.kind() != ErrorKind::io) throw;
      log::warning(fmt::format("{}; trying the checkpoint before it", e.what()));
    }
  }
  if (steps.empty()) return "";
  fail(ErrorKind::checkpoint, "{}: none of its {} checkpoints verifies", folder, steps.size());
}

}  // namespace

std::string save_checkpoint(const std::string& run, const Checkpoint& content, int keep, Disk& disk) {
  if (keep < 2) fail(ErrorKind::config, "checkpoint: keep is {}; at least 2 generations are kept", keep);
  TS_CHECK(content.info.step >= 0, "checkpoint: step is {}", content.info.step);
  fault::at("save.begin");
  const std::string folder = checkpoints_of(run);
  Checkpoint stamped = content;  // handles only: tensors are shared
  if (stamped.info.code.empty()) stamped.info.code = code_version();

  const std::string problem = unsound(content);
  if (!problem.empty()) {
    const std::string name = fmt::format("crash-{}", content.info.step);
    const bool kept = tidy([&] { commit_patiently(disk, folder, name, stamped); });
    fail(ErrorKind::non_finite, "step {}: {}; {}earlier checkpoints are untouched", content.info.step,
         problem, kept ? fmt::format("the state is in {}/{} for inspection, ", folder, name) : "");
  }
  const std::string name = fmt::format("step-{}", content.info.step);
  commit_patiently(disk, folder, name, stamped);
  fault::at("save.before_delete");
  tidy([&] { delete_old(disk, folder, content.info.step, keep); });
  fault::at("save.end");
  return folder + "/" + name;
}

void clear_leftovers(const std::string& run, int64_t step, int keep, Disk& disk) {
  tidy([&] { delete_old(disk, checkpoints_of(run), step, keep); });
}

Checkpoint load_checkpoint(const std::string& step_folder) {
  const Manifest manifest = manifest_of(step_folder);
  return {manifest.info, load_file(step_folder, entry_of(manifest, step_folder, kModelFile)),
          load_file(step_folder, entry_of(manifest, step_folder, kOptimizerFile))};
}

LatestCheckpoint load_latest(const std::string& run) {
  LatestCheckpoint latest;
  latest.folder = load_newest(run, [&](const std::string& f) { latest.content = load_checkpoint(f); });
  return latest;
}

CheckpointInfo read_checkpoint_info(const std::string& step_folder) { return manifest_of(step_folder).info; }

Weights load_weights(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    fail(ErrorKind::checkpoint, "{} {}; give a run folder, a step folder or a .safetensors file", path,
         error ? "cannot be read (" + error.message() + ")" : "does not exist");
  }
  if (!fs::is_directory(path, error)) {
    if (!fs::is_regular_file(path, error))
      fail(ErrorKind::checkpoint, "{} is neither a file nor a folder", path);
    Weights w{path, {}, load_safetensors(path)};
    w.info = info_from_metadata(w.model.metadata, path);
    return w;
  }
  Weights w;
  const auto load = [&](const std::string& folder) {
    const Manifest manifest = manifest_of(folder);
    w = {folder, manifest.info, load_file(folder, entry_of(manifest, folder, kModelFile))};
  };
  if (fs::exists(path + "/" + kManifestFile)) {
    load(path);
  } else if (load_newest(path, load).empty()) {
    fail(ErrorKind::checkpoint,
         "{} holds no checkpoint; give a run folder, a step folder or a .safetensors file", path);
  }
  return w;
}

}  // namespace tessera
