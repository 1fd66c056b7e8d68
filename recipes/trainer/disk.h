// Disk: every write of a run goes through this interface, so that a test can record, refuse or reorder them.
// (Named Disk because engine/memory.h has a Storage.) Every function throws Error(io) with the path and a
// remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

class Disk {
 public:
  class File {
   public:
    virtual ~File() = default;  // closes; an error then goes unseen, so sync() what matters
    // All of it; or throws, and what was written before is whole: none of it stays (where the system obeys).
    virtual void write(const void* data, size_t size) = 0;
    virtual void sync() = 0;  // fsync
  };
  struct Entry {
    std::string name;
    bool is_directory = false;
  };

  virtual ~Disk() = default;
  virtual std::unique_ptr<File> create(const std::string& path) = 0;  // empties an existing file
  virtual std::unique_ptr<File> append(const std::string& path) = 0;
  virtual void make_directory(const std::string& path) = 0;  // parents too; present is fine
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove(const std::string& path) = 0;  // a file or an empty directory; absent is fine
  virtual void sync_directory(const std::string& path) = 0;
  virtual std::vector<Entry> list(const std::string& path) = 0;  // by name; empty when absent
  // What a user may still write where the folder `path` lies; INT64_MAX where the system does not say.
  virtual int64_t free_bytes(const std::string& path) = 0;
};

Disk& real_disk();

// The folder `path` and its parents, whose names then outlast a power cut (make_directory promises less).
void make_lasting_directory(Disk& disk, const std::string& path);
// `path` and all below it. Absent is fine.
void remove_tree(Disk& disk, const std::string& path);
// Writes a small file so that a reader sees the old text or the new one: temporary name, fsync, rename, fsync
// of the folder. When it throws, the old text stands and the temporary file is gone.
void replace_file(Disk& disk, const std::string& path, std::string_view text);
// The whole file. Throws Error(io) when it cannot be read or is longer than `limit` bytes.
std::string read_text(const std::string& path, size_t limit);

}  // namespace tessera
