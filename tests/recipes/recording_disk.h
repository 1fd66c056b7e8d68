// A disk that records what is done to a folder, and builds what a crash after any part of it may leave.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "recipes/trainer/disk.h"

namespace tessera::test {

// What a crash keeps of the operations before it. A file's bytes are safe once the file was synced, a name
// (made, renamed or removed) once its folder was; POSIX promises no more, and no order.
enum class Crash {
  keeps_all,      // a kill: the system wrote everything back later
  keeps_synced,   // power cut: nothing that was not synced
  keeps_any_part  // power cut: of each un-synced write any pieces (or zeros of their length), each name as
                  // it was at any moment since its folder was last synced; a rename may be half done
};

// Works on the real disk below `root` and records.
class RecordingDisk : public Disk {
 public:
  // What lies in `root` now is taken to be safe.
  explicit RecordingDisk(const std::string& root);

  std::unique_ptr<File> create(const std::string& path) override;
  std::unique_ptr<File> append(const std::string& path) override;
  void make_directory(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& path) override;
  void sync_directory(const std::string& path) override;
  std::vector<Entry> list(const std::string& path) override;
  int64_t free_bytes(const std::string& path) override { return real_disk().free_bytes(path); }

  size_t operations() const { return operations_.size(); }
  std::string describe(size_t i) const;  // "rename checkpoints/.tmp-3 -> checkpoints/step-3"
  // Builds in the empty folder `to` what is there after a crash that follows the first `count` operations.
  // `seed` chooses among the parts that may be kept.
  void replay(size_t count, Crash crash, uint64_t seed, const std::string& to) const;

 private:
  enum class Kind { create, append, write, sync, make_directory, rename, remove, sync_directory };
  struct Operation {
    Kind kind;
    std::string path;    // below root
    std::string detail;  // rename: the new path; write: the bytes
    size_t file = 0;     // write, sync: the operation that opened the file
  };
  class RecordingFile;
  struct Tree;

  std::string below(const std::string& path) const;
  std::unique_ptr<File> open(Kind kind, const std::string& path, std::unique_ptr<File> file);

  std::string root_;
  std::map<std::string, std::string> before_;  // path -> bytes; folders end in '/'
  std::vector<Operation> operations_;
};

}  // namespace tessera::test
