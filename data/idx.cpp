#include "data/idx.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/check.h"

namespace tessera {
namespace {

struct Idx {
  std::vector<int64_t> dims;
  std::vector<uint8_t> bytes;
};

// A file, plain or gzip (zlib tells them apart). Errors name it.
class ByteReader {
 public:
  explicit ByteReader(const std::string& path) : path_(path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
      refuse("cannot be opened; check the path");
    file_bytes_ = status.st_size;
    file_ = gzopen(path.c_str(), "rb");
    if (file_ == nullptr) refuse("cannot be opened; check its permissions");
    gzbuffer(file_, 1 << 18);
  }
  ~ByteReader() {
    if (file_ != nullptr) gzclose(file_);
  }
  ByteReader(const ByteReader&) = delete;
  ByteReader& operator=(const ByteReader&) = delete;

  [[noreturn]] void refuse(const std::string& reason) const {
    fail(ErrorKind::data, "IDX file {}: {}", path_, reason);
  }

  int64_t file_bytes() const { return file_bytes_; }

  void read(uint8_t* to, int64_t n) {
    for (int64_t at = 0; at < n;) {
      const int got = gzread(file_, to + at, static_cast<unsigned>(std::min<int64_t>(n - at, 1 << 30)));
      if (got <= 0) refuse_after(got, n);
      at += got;
    }
  }
  uint32_t read_32() {
    uint8_t b[4] = {};
    read(b, 4);
    return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | uint32_t{b[3]};
  }
  // Also holds gzip's own sum, which follows the last byte, against the data.
  void expect_end() {
    uint8_t more = 0;
    const int got = gzread(file_, &more, 1);
    if (got > 0) refuse("is longer than its header says; it is not an IDX file, or damaged");
    if (problem() != nullptr) refuse_after(got, 0);
  }
  // The most bytes that this file may hold. Pictures shrink by a few times; deflate can shrink nothing but
  // zeros by 1032, so what is large and shrank by more than 64 is a bomb.
  int64_t most_bytes() {
    if (gzdirect(file_) != 0) return file_bytes_;
    constexpr int64_t kSmall = 8 << 20;
    return file_bytes_ > INT64_MAX / 1032 ? INT64_MAX
                                          : std::min(file_bytes_ * 1032, std::max(file_bytes_ * 64, kSmall));
  }

 private:
  // What zlib has to complain about, if anything.
  const char* problem() const {
    int code = Z_OK;
    const char* text = gzerror(file_, &code);
    return code == Z_OK || code == Z_STREAM_END ? nullptr : text;
  }
  [[noreturn]] void refuse_after(int got, int64_t wanted) const {
    const char* what = problem();
    if (got < 0) refuse(fmt::format("is damaged ({}); fetch it again", what == nullptr ? "gzip" : what));
    if (what != nullptr) refuse(fmt::format("is truncated ({}); fetch it again", what));
    refuse(fmt::format("ends before its {} bytes of data; fetch it again", wanted));
  }

  std::string path_;
  int64_t file_bytes_ = 0;
  gzFile file_ = nullptr;
};

Idx read_idx(const std::string& path, int min_rank, int max_rank) {
  ByteReader reader(path);
  const uint32_t magic = reader.read_32();
  const int rank = static_cast<int>(magic & 0xff);
  if ((magic >> 8) != 0x08 || rank < min_rank || rank > max_rank) {
    reader.refuse(fmt::format("begins with {:#010x}; wanted 0x000008{:02x} (unsigned bytes, {} dimensions)",
                              magic, min_rank, min_rank));
  }
  Idx idx;
  int64_t total = 1;
  for (int d = 0; d < rank; ++d) {
    idx.dims.push_back(reader.read_32());
    if (idx.dims.back() == 0) reader.refuse("holds nothing: a dimension is 0");
    if (__builtin_mul_overflow(total, idx.dims.back(), &total))
      reader.refuse("dimensions overflow; it is damaged");
  }
  if (total > reader.most_bytes()) {
    reader.refuse(fmt::format("its header asks for {} bytes, more than it can hold ({} bytes); it is damaged",
                              total, reader.file_bytes()));
  }
  idx.bytes.resize(static_cast<size_t>(total));
  reader.read(idx.bytes.data(), total);
  reader.expect_end();
  return idx;
}

class IdxPictures : public Dataset {
 public:
  IdxPictures(const std::string& images, const std::string& labels)
      : path_(images), images_(read_idx(images, 3, 4)) {
    const std::vector<int64_t>& d = images_.dims;
    const int64_t channels = d.size() == 4 ? d[3] : 1;
    if (d[1] > 65'500 || d[2] > 65'500 || !(channels == 1 || channels == 3 || channels == 4)) {
      fail(ErrorKind::data,
           "IDX file {}: pictures of {} x {} with {} channels; wanted sides up to 65500 and 1, 3 or 4 "
           "channels",
           images, d[1], d[2], channels);
    }
    height_ = static_cast<int>(d[1]);
    width_ = static_cast<int>(d[2]);
    channels_ = static_cast<int>(channels);
    if (labels.empty()) return;
    labels_ = read_idx(labels, 1, 1).bytes;
    if (static_cast<int64_t>(labels_.size()) != d[0]) {
      fail(ErrorKind::data, "IDX files {} and {}: {} pictures and {} labels; they belong to different sets",
           images, labels, d[0], labels_.size());
    }
    classes_ = *std::max_element(labels_.begin(), labels_.end()) + 1;
  }

  int64_t size() const override { return images_.dims[0]; }
  int classes() const override { return classes_; }
  int32_t label(int64_t i) const override {
    check_index(i);
    return labels_.empty() ? -1 : labels_[static_cast<size_t>(i)];
  }
  std::string describe(int64_t i) const override { return fmt::format("{}, picture {}", path_, i); }
  void load(int64_t i, int channels, const ChooseBox& choose, Picture& out) const override {
    check_index(i);
    if (!can_convert(channels_, channels)) {
      fail(ErrorKind::data, "picture {}: it has {} channels, and {} are wanted", describe(i), channels_,
           channels);
    }
    const Box box = choose(height_, width_);
    TS_CHECK(is_inside(box, height_, width_), "idx: a part outside the {} x {} picture", height_, width_);
    out.reset(box.height, box.width, channels);
    const size_t pixel = static_cast<size_t>(channels_), row = static_cast<size_t>(width_) * pixel;
    const uint8_t* p = &images_.bytes[(static_cast<size_t>(i) * static_cast<size_t>(height_) +
                                       static_cast<size_t>(box.top)) *
                                          row +
                                      static_cast<size_t>(box.left) * pixel];
    for (int y = 0; y < box.height; ++y, p += row)
      convert_channels(out.row(y), channels, p, channels_, box.width);
  }

 private:
  std::string path_;
  Idx images_;
  std::vector<uint8_t> labels_;
  int height_ = 0, width_ = 0, channels_ = 0, classes_ = 0;
};

}  // namespace

std::unique_ptr<Dataset> open_idx(const std::string& images, const std::string& labels) {
  return std::make_unique<IdxPictures>(images, labels);
}

}  // namespace tessera
