// Writes a checkpoint so that a kill at any moment leaves an old or a new one, and reads back only what
// verifies.
#include "recipes/trainer/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>

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
template <class F> void tidy(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    log::warning(e.what());
  }
}

// Deletes step folders beyond the newest `keep` up to `step`, and what killed saves have left behind.
// A folder is renamed first, so that half of one never looks like a checkpoint.
void delete_old(Disk& disk, const std::string& folder, int64_t step, int keep, const std::string& nonce) {
  std::vector<int64_t> steps;
  for (const Disk::Entry& e : disk.list(folder)) {
    const int64_t s = step_of(e.name);
    if (s >= 0 && s <= step) steps.push_back(s);
  }
  std::sort(steps.rbegin(), steps.rend());
  for (size_t i = static_cast<size_t>(keep); i < steps.size(); ++i) {
    disk.rename(fmt::format("{}/step-{}", folder, steps[i]),
                fmt::format("{}/.old-{}-{}", folder, steps[i], nonce));
  }
  for (const Disk::Entry& e : disk.list(folder)) {
    if (e.name.starts_with(".tmp-") || e.name.starts_with(".old-")) remove_tree(disk, folder + "/" + e.name);
  }
}

std::string make_nonce() {
  return fmt::format("{:x}-{:x}", getpid(), std::chrono::steady_clock::now().time_since_epoch().count());
}

// Writes `content` as folder/name by way of a temporary folder.
void commit(Disk& disk, const std::string& folder, const std::string& name, const Checkpoint& content,
            const std::string& nonce) {
  const std::string temporary = fmt::format("{}/.tmp-{}-{}", folder, content.info.step, nonce);
  const std::string target = folder + "/" + name;
  try {
    disk.make_directory(folder);
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

// ---- reading

struct OpenFile {
  int fd;
  explicit OpenFile(const std::string& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd < 0) fail(ErrorKind::checkpoint, "{}: {}", path, std::strerror(errno));
  }
  ~OpenFile() { ::close(fd); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
};

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

// Reads every byte of the file and compares each part with its sum.
void verify_file(const std::string& folder, const ManifestFile& entry) {
  const std::string path = folder + "/" + entry.name;
  const OpenFile file(path);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail(ErrorKind::io, "cannot stat {}: {}", path, std::strerror(errno));
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > entry.bytes())
    fail(ErrorKind::checkpoint, "{}: has {} bytes, the manifest says {}", path, size, entry.bytes());

  Checksum whole;
  std::vector<char> buffer(1 << 20);
  for (const ManifestPart& part : entry.parts) {
    Checksum sum;
    for (uint64_t left = part.bytes; left > 0;) {
      const ssize_t got = ::read(file.fd, buffer.data(), std::min<uint64_t>(left, buffer.size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail(ErrorKind::io, "cannot read {}: {}", path, std::strerror(errno));
      if (got == 0) fail(ErrorKind::checkpoint, "{}: ends inside {}", path, name_of(part));
      sum.add(buffer.data(), static_cast<size_t>(got));
      whole.add(buffer.data(), static_cast<size_t>(got));
      left -= static_cast<uint64_t>(got);
    }
    if (sum.sum() != part.sum)
      fail(ErrorKind::checkpoint, "{}: {} does not match its checksum", path, name_of(part));
  }
  if (whole.sum() != entry.sum) fail(ErrorKind::checkpoint, "{}: does not match its checksum", path);
}

Manifest verify(const std::string& folder) {
  Manifest manifest = manifest_of(folder);
  for (const ManifestFile& f : manifest.files) verify_file(folder, f);
  return manifest;
}

// The tensors of a verified file; summed once more, as they now lie in memory.
SafeTensors load_file(const std::string& folder, const ManifestFile& entry) {
  SafeTensors content = load_safetensors(folder + "/" + entry.name);
  size_t part = 1;
  for (const auto& [name, t] : content.tensors) {
    if (t.bytes() == 0) continue;
    if (part >= entry.parts.size() || entry.parts[part].name != name ||
        entry.parts[part].sum != checksum(t.raw(), static_cast<size_t>(t.bytes()))) {
      fail(ErrorKind::checkpoint, "{}/{}: tensor \"{}\" changed while it was read", folder, entry.name, name);
    }
    ++part;
  }
  return content;
}

}  // namespace

std::string save_checkpoint(const std::string& run, const Checkpoint& content, int keep, Disk& disk) {
  if (keep < 2) fail(ErrorKind::config, "checkpoint: keep is {}; at least 2 generations are kept", keep);
  TS_CHECK(content.info.step >= 0, "checkpoint: step is {}", content.info.step);
  fault::at("save.begin");
  const std::string nonce = make_nonce();
  const std::string folder = checkpoints_of(run);
  Checkpoint stamped = content;  // handles only: tensors are shared
  if (stamped.info.code.empty()) stamped.info.code = code_version();

  const std::string problem = unsound(content);
  if (!problem.empty()) {
    const std::string name = fmt::format("crash-{}", content.info.step);
    commit(disk, folder, name, stamped, nonce);
    fail(ErrorKind::non_finite,
         "step {}: {}; the state is in {}/{} for inspection, earlier checkpoints are untouched",
         content.info.step, problem, folder, name);
  }
  const std::string name = fmt::format("step-{}", content.info.step);
  commit(disk, folder, name, stamped, nonce);
  fault::at("save.before_delete");
  tidy([&] { delete_old(disk, folder, content.info.step, keep, nonce); });
  fault::at("save.end");
  return folder + "/" + name;
}

void clear_leftovers(const std::string& run, int64_t step, int keep, Disk& disk) {
  tidy([&] { delete_old(disk, checkpoints_of(run), step, keep, make_nonce()); });
}

Checkpoint load_checkpoint(const std::string& step_folder) {
  const Manifest manifest = verify(step_folder);
  return {manifest.info, load_file(step_folder, entry_of(manifest, step_folder, kModelFile)),
          load_file(step_folder, entry_of(manifest, step_folder, kOptimizerFile))};
}

CheckpointInfo read_checkpoint_info(const std::string& step_folder) { return manifest_of(step_folder).info; }

std::string find_latest(const std::string& run) {
  const std::string folder = checkpoints_of(run);
  std::vector<int64_t> steps;
  for (const Disk::Entry& e : real_disk().list(folder)) {
    if (e.is_directory && step_of(e.name) >= 0) steps.push_back(step_of(e.name));
  }
  std::sort(steps.rbegin(), steps.rend());
  for (int64_t step : steps) {
    const std::string candidate = fmt::format("{}/step-{}", folder, step);
    try {
      verify(candidate);
      return candidate;
    } catch (const Error& e) {
      log::warning(fmt::format("{}; trying the checkpoint before it", e.what()));
    }
  }
  if (steps.empty()) return "";
  fail(ErrorKind::checkpoint, "{}: none of its {} checkpoints verifies", folder, steps.size());
}

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
  std::string folder = path;
  if (!fs::exists(path + "/" + kManifestFile)) {
    folder = find_latest(path);
    if (folder.empty())
      fail(ErrorKind::checkpoint,
           "{} holds no checkpoint; give a run folder, a step folder or a .safetensors file", path);
  }
  const Manifest manifest = manifest_of(folder);
  const ManifestFile& entry = entry_of(manifest, folder, kModelFile);
  verify_file(folder, entry);
  return {folder, manifest.info, load_file(folder, entry)};
}

}  // namespace tessera
