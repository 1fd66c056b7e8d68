// Scratch: a folder that lives as long as a test; and disks that refuse or stop.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "engine/require.h"
#include "recipes/trainer/disk.h"

namespace tessera::test {

// In memory where that is given, for tests sync thousands of times; all of them fit in 64 MiB.
inline std::filesystem::path scratch_root() {
  std::error_code error;
  if (std::getenv("TMPDIR") == nullptr && access("/dev/shm", W_OK) == 0 &&
      std::filesystem::space("/dev/shm", error).available >= 64 << 20 && !error) {
    return "/dev/shm";
  }
  return std::filesystem::temp_directory_path();
}

class Scratch {
 public:
  Scratch() {
    static int count = 0;
    const std::string name = "tessera_" + std::to_string(getpid()) + "_" + std::to_string(count++);
    path_ = (scratch_root() / name).string();
    std::filesystem::create_directories(path_);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
inline void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The process is gone: thrown by FaultyDisk at the fatal call and at every call after it.
struct Killed {};

// The real disk, until call number `fault` (from 0); that call refuses once (full), all from it on that need
// room refuse (stays_full), or all from it on throw Killed. A killed write leaves half its bytes.
class FaultyDisk : public Disk {
 public:
  enum Kind { full, stays_full, kill };
  FaultyDisk(Kind kind, int fault) : kind_(kind), fault_(fault) {}
  int calls() const { return calls_; }

  std::unique_ptr<File> create(const std::string& path) override {
    call();
    return std::make_unique<FaultyFile>(*this, real_disk().create(path));
  }
  std::unique_ptr<File> append(const std::string& path) override {
    call();
    return std::make_unique<FaultyFile>(*this, real_disk().append(path));
  }
  void make_directory(const std::string& path) override { call(), real_disk().make_directory(path); }
  void rename(const std::string& from, const std::string& to) override {
    call(), real_disk().rename(from, to);
  }
  void remove(const std::string& path) override { call(false), real_disk().remove(path); }
  void sync_directory(const std::string& path) override { call(), real_disk().sync_directory(path); }
  std::vector<Entry> list(const std::string& path) override { return call(false), real_disk().list(path); }
  int64_t free_bytes(const std::string& path) override { return real_disk().free_bytes(path); }

 private:
  struct FaultyFile : File {
    FaultyFile(FaultyDisk& d, std::unique_ptr<File> f) : disk(d), file(std::move(f)) {}
    void write(const void* data, size_t size) override {
      try {
        disk.call();
      } catch (const Killed&) {
        file->write(data, size / 2);
        throw;
      }
      file->write(data, size);
    }
    void sync() override { disk.call(), file->sync(); }
    FaultyDisk& disk;
    std::unique_ptr<File> file;
  };

  void call(bool needs_room = true) {
    const int now = calls_++;
    if (kind_ == kill && now >= fault_) throw Killed{};
    if (kind_ == full ? now == fault_ : kind_ == stays_full && needs_room && now >= fault_)
      throw Error(ErrorKind::io, "cannot write: no space left on device");
  }
  Kind kind_;
  int fault_, calls_ = 0;
};

}  // namespace tessera::test
