// `bench data`: what a training picture costs in CPU time, from the file to the pixels a model sees.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/photos.h"
#include "data/decode.h"
#include "data/loader.h"
#include "engine/check.h"
#include "engine/roof.h"

namespace tessera::bench {
namespace {

namespace fs = std::filesystem;
using roof::now;
using Json = nlohmann::ordered_json;

constexpr int64_t kEpochs = 4;  // crops of each picture that are timed
constexpr uint64_t kSeed = 1;

TransformOptions options_of(bool train) {
  TransformOptions o;
  o.kind = train ? TransformKind::train : TransformKind::eval;
  return o;
}

// The crop and the flip of a picture, as transform() draws them.
struct Draw {
  Box box;
  bool flipped = false;
};
Draw draw_of(int height, int width, int64_t index, int64_t epoch) {
  const uint64_t e = static_cast<uint64_t>(epoch), i = static_cast<uint64_t>(index);
  return {random_resized_crop(height, width, {}, Philox(kSeed, Purpose::crop, e, i)),
          draw_flip(0.5, Philox(kSeed, Purpose::flip, e, i))};
}

int64_t minor_faults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

// Seconds of this thread's CPU that work(index, epoch) takes per picture: the median over passes of all
// pictures and crops, after one that warms up. At least three passes, more while `seconds` last.
template <class F> double per_picture(int64_t n, int64_t epochs, double seconds, const F& work) {
  std::vector<double> passes;
  const double begin = now(1);
  for (int pass = 0; pass < 4 || now(1) - begin < seconds; ++pass) {
    const double start = now(1);
    for (int64_t e = 0; e < epochs; ++e) {
      for (int64_t i = 0; i < n; ++i) work(i, e);
    }
    if (pass > 0) passes.push_back((now(1) - start) / static_cast<double>(n * epochs));
  }
  std::nth_element(passes.begin(), passes.begin() + std::ssize(passes) / 2, passes.end());
  return passes[passes.size() / 2];
}

struct Cost {
  double read = 0, decode = 0, resize = 0, rest = 0, total = 0;  // seconds of CPU per picture
  double faults = 0;                                             // minor page faults per picture
};

// Parts are timed by doing less: only reading, reading and decoding the part that is wanted, resizing that.
Cost measure(const Dataset& data, bool train, double seconds) {
  const TransformOptions o = options_of(train);
  const int64_t n = data.size(), epochs = train ? kEpochs : 1;
  std::vector<uint8_t> to(static_cast<size_t>(o.height) * static_cast<size_t>(o.width) * 3);
  const auto choose = [&](int64_t i, int64_t e) {
    return [=](int h, int w) {
      if (train) return draw_of(h, w, i, e).box;
      const CentreCrop centre = centre_crop({h, w}, o.shorter, {o.height, o.width});
      return resize_footprint({h, w}, centre.resized, centre.kept, o.filter);
    };
  };
  Bytes file;
  Picture part, small;
  Cost cost;
  cost.read = per_picture(n, 1, seconds / 8,
                          [&](int64_t i, int64_t) { read_picture_file(data.describe(i), file); });
  const double loaded = per_picture(n, epochs, seconds / 3,
                                    [&](int64_t i, int64_t e) { data.load(i, 3, choose(i, e), part); });
  int64_t passes = 0, faults = 0;
  cost.total = per_picture(n, epochs, seconds / 2, [&](int64_t i, int64_t e) {
    const int64_t before = minor_faults();
    transform(data, i, o, kSeed, e, to.data());
    if (++passes > n * epochs) faults += minor_faults() - before;
  });
  cost.faults = static_cast<double>(faults) / static_cast<double>(passes - n * epochs);
  cost.decode = loaded - cost.read;
  const double both = per_picture(n, epochs, 0, [&](int64_t i, int64_t e) {
    data.load(i, 3, choose(i, e), part);
    resize(part, {o.height, o.width}, o.filter, small);
  });
  cost.resize = both - loaded;
  cost.rest = cost.total - both;
  return cost;
}

// Pictures and bytes per second of the clock through the loader, as a training run takes them.
std::pair<double, double> through_loader(const std::shared_ptr<const Dataset>& data, int workers,
                                         double seconds) {
  LoaderOptions o;
  o.transform = options_of(true);
  o.sampler.batch = std::min<int64_t>(data->size(), 32);
  o.sampler.seed = kSeed;
  o.workers = workers;
  Loader loader(data, o);
  loader.next();
  double bytes = 0;
  int64_t pictures = 0;
  const auto begin = std::chrono::steady_clock::now();
  double elapsed = 0;
  while (elapsed < seconds) {
    const Batch batch = loader.next();
    pictures += batch.size();
    for (const int64_t i : batch.indices) bytes += static_cast<double>(fs::file_size(data->describe(i)));
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return {static_cast<double>(pictures) / elapsed, bytes / elapsed};
}

// Every picture with its crops, for tools/peers/data.py.
Json crops_of(const Dataset& data) {
  Json files = Json::array();
  Picture pixel;
  for (int64_t i = 0; i < data.size(); ++i) {
    Json crops = Json::array();
    int height = 0, width = 0;
    data.load(
        i, 3,
        [&](int h, int w) {
          height = h;
          width = w;
          return Box{0, 0, 1, 1};
        },
        pixel);
    for (int64_t e = 0; e < kEpochs; ++e) {
      const Draw d = draw_of(height, width, i, e);
      crops.push_back({d.box.top, d.box.left, d.box.height, d.box.width, d.flipped});
    }
    files.push_back({{"path", data.describe(i)}, {"crops", crops}});
  }
  return files;
}

Json run_set(const std::string& name, const std::shared_ptr<const Dataset>& data, const DataOptions& o) {
  Json result = {{"name", name}, {"pictures", data->size()}};
  for (const bool train : {true, false}) {
    const Cost c = measure(*data, train, o.seconds);
    const char* kind = train ? "train" : "eval";
    fmt::print("{:<20}{:<7}{:>9.2f}{:>9.2f}{:>9.2f}{:>9.2f}{:>10.2f}{:>9.1f}{:>12.1f}", name, kind,
               c.read * 1e3, c.decode * 1e3, c.resize * 1e3, c.rest * 1e3, c.total * 1e3, c.faults,
               1 / c.total);
    result[kind] = {{"read_ms", c.read * 1e3}, {"decode_ms", c.decode * 1e3}, {"resize_ms", c.resize * 1e3},
                    {"rest_ms", c.rest * 1e3}, {"ms", c.total * 1e3},         {"minor_faults", c.faults}};
    if (train) {
      const auto [pictures, bytes] = through_loader(data, o.threads, o.seconds);
      fmt::print("{:>12.1f}{:>9.1f}", pictures, bytes * 1e-6);
      result["loader"] = {{"workers", o.threads}, {"pictures_s", pictures}, {"mb_s", bytes * 1e-6}};
    }
    fmt::print("\n");
  }
  result["files"] = crops_of(*data);
  return result;
}

// The sets in what the user named: a list's or a folder's own pictures, or those of the folders in it.
std::vector<std::pair<std::string, std::string>> sources_of(const std::string& files) {
  std::error_code error;
  if (!fs::is_directory(files, error)) return {{fs::path(files).filename().string(), "list:" + files}};
  std::vector<std::pair<std::string, std::string>> sources;
  bool own = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(files, error)) {
    const std::string path = entry.path().string(), name = entry.path().filename().string();
    if (entry.is_directory(error)) sources.emplace_back(name, "flat:" + path);
    own = own || has_picture_extension(name);
  }
  std::sort(sources.begin(), sources.end());
  if (own || sources.empty()) return {{fs::path(files).filename().string(), "flat:" + files}};
  return sources;
}

// A folder for the pictures made for one run.
struct Scratch {
  std::string path = (fs::temp_directory_path() / fmt::format("tessera-bench-{}", getpid())).string();
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

}  // namespace

int run_data(const DataOptions& o) {
  const Scratch scratch;
  std::string files = o.files;
  if (files.empty()) {
    files = o.write.empty() ? scratch.path : o.write;
    write_photo_sets(files);
  }
  fmt::print(
      "milliseconds of one core per picture (seed {}); pictures/s and MB/s: the loader's, {} workers\n",
      kSeed, o.threads);
  fmt::print("{:<20}{:<7}{:>9}{:>9}{:>9}{:>9}{:>10}{:>9}{:>12}{:>12}{:>9}\n", "set", "", "read", "decode",
             "resize", "rest", "total", "faults", "per core/s", "pictures/s", "MB/s");
  Json sets = Json::array();
  for (const auto& [name, source] : sources_of(files)) {
    sets.push_back(run_set(name, open_dataset(source), o));
  }
  if (!o.json.empty()) {
    std::ofstream out(o.json);
    out << Json{{"seed", kSeed}, {"sets", sets}}.dump(1) << "\n";
    out.close();
    if (!out) fail(ErrorKind::data, "{}: cannot be written; check the path and the space", o.json);
  }
  return 0;
}

}  // namespace tessera::bench
