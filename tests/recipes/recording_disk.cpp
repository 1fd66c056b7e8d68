// Records operations, and replays them into a model of a file system whose un-synced part is uncertain.
#include "tests/recipes/recording_disk.h"

#include <algorithm>
#include <filesystem>

#include "engine/check.h"
#include "engine/random.h"
#include "tests/recipes/scratch.h"

namespace tessera::test {

namespace fs = std::filesystem;

// Numbers for one crash, drawn in order.
class Dice {
 public:
  Dice(uint64_t seed, size_t count) : random_(seed, Purpose::test, count, 0) {}
  uint32_t below(uint32_t n) { return random_.below(drawn_++, n); }

 private:
  Philox random_;
  uint64_t drawn_ = 0;
};

// Files and folders by number, 0 the root. Names keep what they stood for since their folder was last synced;
// files keep what was done to them since they were.
struct RecordingDisk::Tree {
  struct Change {
    bool empties = false;  // the file was opened with O_TRUNC
    size_t at = 0;
    std::string bytes;
  };
  struct Node {
    bool folder = false;
    std::map<std::string, std::vector<int>> names;  // oldest first: the safe one, then later ones; -1 absent
    std::string safe;
    std::vector<Change> changes;
    size_t size = 0;
  };
  std::vector<Node> nodes{Node{.folder = true, .names = {}, .safe = "", .changes = {}, .size = 0}};

  int child(int folder, const std::string& name) {
    const auto it = nodes[static_cast<size_t>(folder)].names.find(name);
    return it == nodes[static_cast<size_t>(folder)].names.end() ? -1 : it->second.back();
  }
  void set(int folder, const std::string& name, int node) {
    std::vector<int>& history = nodes[static_cast<size_t>(folder)].names[name];
    if (history.empty()) history.push_back(-1);
    history.push_back(node);
  }
  // The folder that holds `path`, and its last part.
  std::pair<int, std::string> place(const std::string& path) {
    int at = 0;
    size_t begin = 0;
    for (size_t slash; (slash = path.find('/', begin)) != std::string::npos; begin = slash + 1) {
      at = child(at, path.substr(begin, slash - begin));
      TS_CHECK(at >= 0, "recording disk: {} is not there", path);
    }
    return {at, path.substr(begin)};
  }
  int find(const std::string& path) {
    const auto [folder, name] = place(path);
    return name.empty() ? folder : child(folder, name);
  }
  int make(bool folder) {
    nodes.emplace_back();
    nodes.back().folder = folder;
    return static_cast<int>(nodes.size()) - 1;
  }
  void make_folders(const std::string& path) {
    for (size_t slash = 0; slash != std::string::npos;) {
      slash = path.find('/', slash + 1);
      const auto [folder, name] = place(path.substr(0, slash));
      if (!name.empty() && child(folder, name) < 0) set(folder, name, make(true));
    }
  }
  int open(const std::string& path, bool empties) {
    const auto [folder, name] = place(path);
    int file = child(folder, name);
    if (file < 0) {
      file = make(false);
      set(folder, name, file);
    } else if (empties) {
      nodes[static_cast<size_t>(file)].changes.push_back({true, 0, ""});
      nodes[static_cast<size_t>(file)].size = 0;
    }
    return file;
  }
  void write(int file, const std::string& bytes) {
    Node& n = nodes[static_cast<size_t>(file)];
    n.changes.push_back({false, n.size, bytes});
    n.size += bytes.size();
  }

  static void put(std::string& content, size_t at, std::string_view bytes) {
    if (content.size() < at + bytes.size()) content.resize(at + bytes.size(), '\0');
    content.replace(at, bytes.size(), bytes);
  }
  static std::string whole(const Node& n) {
    std::string content = n.safe;
    for (const Change& c : n.changes) {
      if (c.empties) content.clear();
      put(content, c.at, c.bytes);
    }
    return content;
  }
  // Of each change nothing, all, or any of three pieces; a piece may be zeros.
  static std::string part(const Node& n, Dice& dice) {
    std::string content = n.safe;
    for (const Change& c : n.changes) {
      const uint32_t fate = dice.below(3);
      if (fate == 0) continue;
      if (c.empties) content.clear();
      const auto size = static_cast<uint32_t>(c.bytes.size());
      uint32_t cuts[] = {0, dice.below(size + 1), dice.below(size + 1), size};
      std::sort(cuts, cuts + 4);
      for (int i = 0; i < 3; ++i) {
        const std::string piece = c.bytes.substr(cuts[i], cuts[i + 1] - cuts[i]);
        const uint32_t kept = fate == 1 ? 1 : dice.below(3);
        if (kept > 0) put(content, c.at + cuts[i], kept == 1 ? piece : std::string(piece.size(), '\0'));
      }
    }
    return content;
  }
  void sync(int file) {
    Node& n = nodes[static_cast<size_t>(file)];
    n.safe = whole(n);
    n.changes.clear();
  }
  void sync_names(int folder) {
    for (auto& [name, history] : nodes[static_cast<size_t>(folder)].names) history = {history.back()};
  }

  // A folder whose rename is half done may stand under both names: it is then built twice.
  void build(int folder, Crash crash, Dice& dice, const std::string& to) const {
    for (const auto& [name, history] : nodes[static_cast<size_t>(folder)].names) {
      const size_t last = history.size() - 1;
      const size_t chosen = crash == Crash::keeps_all ? last
                            : crash == Crash::keeps_synced
                                ? 0
                                : dice.below(static_cast<uint32_t>(history.size()));
      if (history[chosen] < 0) continue;
      const Node& n = nodes[static_cast<size_t>(history[chosen])];
      if (n.folder) {
        fs::create_directory(to + "/" + name);
        build(history[chosen], crash, dice, to + "/" + name);
      } else {
        spill(to + "/" + name, crash == Crash::keeps_all      ? whole(n)
                               : crash == Crash::keeps_synced ? n.safe
                                                              : part(n, dice));
      }
    }
  }
};

class RecordingDisk::RecordingFile : public Disk::File {
 public:
  RecordingFile(RecordingDisk& disk, size_t opened, std::unique_ptr<File> file)
      : disk_(disk), opened_(opened), file_(std::move(file)) {}
  void write(const void* data, size_t size) override {
    file_->write(data, size);
    record(Kind::write, std::string(static_cast<const char*>(data), size));
  }
  void sync() override { file_->sync(), record(Kind::sync, ""); }

 private:
  void record(Kind kind, std::string bytes) {
    disk_.operations_.push_back({kind, disk_.operations_[opened_].path, std::move(bytes), opened_});
  }
  RecordingDisk& disk_;
  size_t opened_;
  std::unique_ptr<File> file_;
};

RecordingDisk::RecordingDisk(const std::string& root) : root_(root) {
  for (const auto& e : fs::recursive_directory_iterator(root)) {
    const std::string path = below(e.path().string());
    e.is_directory() ? before_[path + "/"] = "" : before_[path] = slurp(e.path().string());
  }
}

std::string RecordingDisk::below(const std::string& path) const {
  TS_CHECK(path == root_ || path.starts_with(root_ + "/"), "recording disk: {} is outside {}", path, root_);
  return path == root_ ? "" : path.substr(root_.size() + 1);
}

std::unique_ptr<Disk::File> RecordingDisk::open(Kind kind, const std::string& path,
                                                std::unique_ptr<File> file) {
  operations_.push_back({kind, below(path), "", 0});
  return std::make_unique<RecordingFile>(*this, operations_.size() - 1, std::move(file));
}
std::unique_ptr<Disk::File> RecordingDisk::create(const std::string& path) {
  return open(Kind::create, path, real_disk().create(path));
}
std::unique_ptr<Disk::File> RecordingDisk::append(const std::string& path) {
  return open(Kind::append, path, real_disk().append(path));
}
void RecordingDisk::make_directory(const std::string& path) {
  real_disk().make_directory(path);
  operations_.push_back({Kind::make_directory, below(path), "", 0});
}
void RecordingDisk::rename(const std::string& from, const std::string& to) {
  real_disk().rename(from, to);
  operations_.push_back({Kind::rename, below(from), below(to), 0});
}
void RecordingDisk::remove(const std::string& path) {
  real_disk().remove(path);
  operations_.push_back({Kind::remove, below(path), "", 0});
}
void RecordingDisk::sync_directory(const std::string& path) {
  real_disk().sync_directory(path);
  operations_.push_back({Kind::sync_directory, below(path), "", 0});
}
std::vector<Disk::Entry> RecordingDisk::list(const std::string& path) { return real_disk().list(path); }

std::string RecordingDisk::describe(size_t i) const {
  static const char* kNames[] = {"create",         "append", "write",  "sync",
                                 "make directory", "rename", "remove", "sync directory"};
  const Operation& o = operations_.at(i);
  return fmt::format("{} {}{}", kNames[static_cast<size_t>(o.kind)], o.path,
                     o.kind == Kind::rename  ? " -> " + o.detail
                     : o.kind == Kind::write ? fmt::format(" ({} bytes)", o.detail.size())
                                             : "");
}

void RecordingDisk::replay(size_t count, Crash crash, uint64_t seed, const std::string& to) const {
  Tree tree;
  for (const auto& [path, bytes] : before_) {
    if (path.ends_with('/')) {
      tree.make_folders(path.substr(0, path.size() - 1));
    } else {
      tree.nodes[static_cast<size_t>(tree.open(path, false))].safe = bytes;
      tree.nodes.back().size = bytes.size();
    }
  }
  for (size_t i = 0; i < tree.nodes.size(); ++i) tree.sync_names(static_cast<int>(i));

  std::map<size_t, int> opened;
  for (size_t i = 0; i < count; ++i) {
    const Operation& o = operations_.at(i);
    switch (o.kind) {
      case Kind::create: opened[i] = tree.open(o.path, true); break;
      case Kind::append: opened[i] = tree.open(o.path, false); break;
      case Kind::write: tree.write(opened.at(o.file), o.detail); break;
      case Kind::sync: tree.sync(opened.at(o.file)); break;
      case Kind::make_directory: tree.make_folders(o.path); break;
      case Kind::rename: {
        const int node = tree.find(o.path);
        const auto [from, was] = tree.place(o.path);
        tree.set(from, was, -1);
        const auto [into, is] = tree.place(o.detail);
        tree.set(into, is, node);
        break;
      }
      case Kind::remove: {
        const auto [folder, name] = tree.place(o.path);
        if (tree.child(folder, name) >= 0) tree.set(folder, name, -1);
        break;
      }
      case Kind::sync_directory: tree.sync_names(tree.find(o.path)); break;
    }
  }
  Dice dice(seed, count);
  tree.build(0, crash, dice, to);
}

}  // namespace tessera::test
