// The real disk, over POSIX calls.
#include "recipes/trainer/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "engine/check.h"
#include "engine/fault.h"

namespace tessera {
namespace {

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return "; make room on the disk";
    case EACCES:
    case EPERM:
    case EROFS: return "; check the permissions";
    case EFBIG: return "; a limit on file sizes is set (ulimit -f)";
    case EIO: return "; the disk reports an error: see the system's log, or move the run to another disk";
    case ENOTDIR: return "; a part of the path is a file";
    default: return "";
  }
}

[[noreturn]] void refuse(const char* what, const std::string& path) {
  const int error = errno;
  fail(ErrorKind::io, "cannot {} {}: {}{}", what, path, std::strerror(error), remedy(error));
}

// The error a fault point asks this call to fail with, left in errno; false: go on.
bool struck(const char* point) {
  switch (fault::at(point)) {
    case fault::Action::none: return false;
    case fault::Action::eio: errno = EIO; return true;
    default: errno = ENOSPC; return true;
  }
}

class RealFile : public Disk::File {
 public:
  RealFile(const std::string& path, int flags)
      : path_(path), fd_(struck("create") ? -1 : ::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) refuse("create", path);
  }
  ~RealFile() override { ::close(fd_); }
  RealFile(const RealFile&) = delete;
  RealFile& operator=(const RealFile&) = delete;

  void write(const void* data, size_t size) override {
    const off_t before = ::lseek(fd_, 0, SEEK_END);  // a file is only ever written at its end
    if (before >= 0 && put(data, size)) return;
    const int error = errno;
    // Should this fail too, nothing better can be done; a resumed run drops torn lines.
    if (before >= 0) [[maybe_unused]]
      const int cut = ::ftruncate(fd_, before);
    errno = error;
    refuse("write", path_);
  }
  void sync() override {
    if (struck("sync") || ::fsync(fd_) != 0) refuse("sync", path_);
  }

 private:
  // False: errno says why.
  bool put(const void* data, size_t size) {
    const fault::Action asked = fault::at("write");
    if (asked == fault::Action::eio) return errno = EIO, false;
    if (asked == fault::Action::enospc) return errno = ENOSPC, false;
    if (asked == fault::Action::short_write) size /= 2;
    const auto* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = ::write(fd_, at, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      at += n;
      size -= static_cast<size_t>(n);
    }
    if (asked == fault::Action::short_write) return errno = ENOSPC, false;
    return true;
  }

  std::string path_;
  int fd_;
};

class RealDisk : public Disk {
 public:
  // A write beyond the limit on file sizes is an error like any other (EFBIG), not the end of the process.
  RealDisk() { std::signal(SIGXFSZ, SIG_IGN); }
  std::unique_ptr<File> create(const std::string& path) override {
    return std::make_unique<RealFile>(path, O_WRONLY | O_CREAT | O_TRUNC);
  }
  std::unique_ptr<File> append(const std::string& path) override {
    return std::make_unique<RealFile>(path, O_WRONLY | O_CREAT | O_APPEND);
  }
  void make_directory(const std::string& path) override {
    std::error_code error;
    if (struck("create")) refuse("create folder", path);
    std::filesystem::create_directories(path, error);
    if (!error) return;
    errno = error.value();
    refuse("create folder", path);
  }
  void rename(const std::string& from, const std::string& to) override {
    if (struck("rename") || ::rename(from.c_str(), to.c_str()) != 0) refuse("rename to", to);
  }
  void remove(const std::string& path) override {
    if (::remove(path.c_str()) != 0 && errno != ENOENT) refuse("remove", path);
  }
  void sync_directory(const std::string& path) override {
    if (struck("sync")) refuse("sync folder", path);
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) refuse("open folder", path);
    const int status = ::fsync(fd);
    const int error = errno;
    ::close(fd);
    errno = error;
    if (status != 0) refuse("sync folder", path);
  }
  std::vector<Entry> list(const std::string& path) override {
    std::vector<Entry> entries;
    std::error_code error;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      // A link is never followed: removing a run must not reach outside it.
      entries.push_back({it->path().filename().string(),
                         it->symlink_status().type() == std::filesystem::file_type::directory});
    }
    if (error && error != std::errc::no_such_file_or_directory) {
      errno = error.value();
      refuse("list", path);
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return entries;
  }
  int64_t free_bytes(const std::string& path) override {
    struct statvfs s {};
    if (::statvfs(path.c_str(), &s) != 0 || s.f_blocks == 0) return INT64_MAX;
    return static_cast<int64_t>(s.f_bavail * s.f_frsize);
  }
};

}  // namespace

Disk& real_disk() {
  static RealDisk disk;
  return disk;
}

void make_lasting_directory(Disk& disk, const std::string& path) {
  const std::filesystem::path folder(path);
  if (path.empty() || std::filesystem::is_directory(folder)) return;
  const std::string parent = folder.parent_path().string();
  make_lasting_directory(disk, parent);
  disk.make_directory(path);
  disk.sync_directory(parent.empty() ? "." : parent);
}

void remove_tree(Disk& disk, const std::string& path) {
  std::error_code error;
  if (std::filesystem::symlink_status(path, error).type() == std::filesystem::file_type::directory) {
    for (const Disk::Entry& e : disk.list(path)) {
      const std::string child = path + "/" + e.name;
      e.is_directory ? remove_tree(disk, child) : disk.remove(child);
    }
  }
  disk.remove(path);
}

void replace_file(Disk& disk, const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  try {
    const auto file = disk.create(temporary);
    file->write(text.data(), text.size());
    file->sync();
    disk.rename(temporary, path);
  } catch (const Error&) {
    try {
      disk.remove(temporary);
    } catch (const Error&) {  // the first error says more
    }
    throw;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  disk.sync_directory(folder.empty() ? "." : folder);
}

std::string read_text(const std::string& path, size_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) refuse("open", path);
  std::string text;
  char buffer[1 << 16];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0 && text.size() <= limit)
    text.append(buffer, static_cast<size_t>(got));
  const int error = errno;
  ::close(fd);
  errno = error;
  if (got < 0) refuse("read", path);
  if (text.size() > limit) fail(ErrorKind::io, "{} is longer than {} bytes", path, limit);
  return text;
}

}  // namespace tessera
