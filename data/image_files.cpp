#include "data/image_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <vector>

#include "engine/check.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// A folder's path is kept once, since a data set may have millions of files.
class ImageFiles : public Dataset {
 public:
  struct File {
    int32_t folder = 0;  // in folders
    int32_t label = -1;
    std::string name;
  };

  int64_t size() const override { return static_cast<int64_t>(files.size()); }
  int classes() const override { return class_count; }
  int32_t label(int64_t i) const override { return at(i).label; }
  std::string describe(int64_t i) const override {
    return folders[static_cast<size_t>(at(i).folder)] + at(i).name;
  }
  void load(int64_t i, int channels, const ChooseBox& choose, Picture& out) const override {
    thread_local Bytes file;
    const std::string path = describe(i);
    read_picture_file(path, file, limits);
    decode_picture({file.data(), file.size()}, path, channels, choose, out, limits);
  }

  std::vector<std::string> folders;  // each ends in '/', or is empty
  std::vector<File> files;
  int class_count = 0;
  DecodeLimits limits;

 private:
  const File& at(int64_t i) const {
    check_index(i);
    return files[static_cast<size_t>(i)];
  }
};

// What a folder holds, sorted by name, without hidden entries; links count as what they lead to, broken ones
// as nothing.
struct Listing {
  std::vector<std::string> folders, pictures;
};
Listing list_folder(const std::string& dir) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator entries(dir, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.empty() || name[0] == '.') continue;
    std::error_code ignored;
    if (entries->is_directory(ignored)) {
      listing.folders.push_back(name);
    } else if (has_picture_extension(name) && entries->is_regular_file(ignored)) {
      listing.pictures.push_back(name);
    }
  }
  if (error)
    fail(ErrorKind::data, "data folder {}: cannot be read ({}); check the path and its permissions", dir,
         error.message());
  std::sort(listing.folders.begin(), listing.folders.end());
  std::sort(listing.pictures.begin(), listing.pictures.end());
  return listing;
}

std::string with_slash(std::string dir) {
  if (dir.empty() || dir.back() != '/') dir += '/';
  return dir;
}

// Adds the pictures of `dir` and, to a depth that ends loops of links, of the folders in it.
void add_pictures(ImageFiles& data, const std::string& dir, int32_t label, int deeper) {
  Listing listing = list_folder(dir);
  const int32_t folder = static_cast<int32_t>(data.folders.size());
  data.folders.push_back(with_slash(dir));
  for (std::string& name : listing.pictures) data.files.push_back({folder, label, std::move(name)});
  if (deeper == 0) return;
  for (const std::string& name : listing.folders)
    add_pictures(data, with_slash(dir) + name, label, deeper - 1);
}

// Far above any set of classes; a classifier has a row of weights for each number up to the largest label.
constexpr int32_t kMaxLabel = 999'999;

constexpr const char* kPictures = ".jpg, .jpeg or .png";

// Splits "path<tab>label" or "path label"; the label stays -1 when there is none.
void split_label(std::string& line, int32_t& label) {
  size_t cut = line.rfind('\t');
  if (cut == std::string::npos) cut = line.rfind(' ');
  if (cut == std::string::npos || cut == 0) return;
  const char* end = line.data() + line.size();
  int32_t value = 0;
  const auto [stop, error] = std::from_chars(line.data() + cut + 1, end, value);
  if (error != std::errc() || stop != end || value < 0) return;
  label = value;
  line.resize(cut);
}

}  // namespace

std::unique_ptr<Dataset> open_folder(const std::string& dir, const DecodeLimits& limits) {
  constexpr int kDepth = 8;
  auto data = std::make_unique<ImageFiles>();
  data->limits = limits;
  const Listing top = list_folder(dir);
  for (const std::string& name : top.folders) {
    const size_t before = data->files.size();
    add_pictures(*data, with_slash(dir) + name, data->class_count++, kDepth);
    if (data->files.size() == before) {
      fail(ErrorKind::data, "data folder {}: class {} has no picture ({}); remove the folder or fill it", dir,
           name, kPictures);
    }
  }
  if (data->files.empty()) {
    fail(ErrorKind::data, "data folder {}: wanted {}/<class>/<picture>, and there is no class folder; {}",
         dir, dir, top.pictures.empty() ? "check the path" : "for pictures without classes use flat:" + dir);
  }
  return data;
}

std::unique_ptr<Dataset> open_flat(const std::string& dir, const DecodeLimits& limits) {
  auto data = std::make_unique<ImageFiles>();
  data->limits = limits;
  add_pictures(*data, dir, -1, 0);
  if (data->files.empty()) {
    fail(ErrorKind::data, "data folder {}: no picture ({}) directly in it; check the path{}", dir, kPictures,
         list_folder(dir).folders.empty() ? "" : ", or use folder:" + dir + " for pictures in class folders");
  }
  return data;
}

std::unique_ptr<Dataset> open_list(const std::string& path, const DecodeLimits& limits) {
  std::error_code error;  // a pipe or a device would never end
  if (!fs::is_regular_file(path, error))
    fail(ErrorKind::data, "data list {}: cannot be opened as a file; check the path", path);
  std::ifstream file(path);
  if (!file) fail(ErrorKind::data, "data list {}: cannot be opened; check the path", path);
  auto data = std::make_unique<ImageFiles>();
  data->limits = limits;
  const size_t slash = path.rfind('/');
  data->folders = {slash == std::string::npos ? "" : path.substr(0, slash + 1), ""};
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    ImageFiles::File entry;
    split_label(line, entry.label);
    if (entry.label > kMaxLabel) {
      fail(ErrorKind::data, "data list {}, line {}: label {} is more than {}; number the classes from 0",
           path, number, entry.label, kMaxLabel);
    }
    entry.folder = line[0] == '/' ? 1 : 0;
    entry.name = line;
    if (!data->files.empty() && (data->files[0].label < 0) != (entry.label < 0)) {
      fail(ErrorKind::data,
           "data list {}, line {}: {} a label, unlike the lines before; label all lines or none", path,
           number, entry.label < 0 ? "has not" : "has");
    }
    data->class_count = std::max(data->class_count, entry.label + 1);
    data->files.push_back(std::move(entry));
  }
  if (file.bad()) fail(ErrorKind::data, "data list {}: cannot be read to its end", path);
  if (data->files.empty())
    fail(ErrorKind::data, "data list {}: it names no picture; write one path per line", path);
  return data;
}

}  // namespace tessera
