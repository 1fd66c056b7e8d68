#include "data/write_png.h"

#include <png.h>

#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "engine/check.h"

namespace tessera {
namespace {

// Owns libpng's writer. libpng reports errors by longjmp, so encode() keeps no local that has a destructor.
class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, on_error,
                                   [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    TS_CHECK(info_ != nullptr, "encode_png: libpng {} cannot be set up", PNG_LIBPNG_VER_STRING);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  // False: message() says why.
  bool encode(const Picture& picture) {
    if (setjmp(jump_)) return false;
    const int channels = picture.channels();
    const int type = channels == 1   ? PNG_COLOR_TYPE_GRAY
                     : channels == 3 ? PNG_COLOR_TYPE_RGB
                                     : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_write_fn(png_, this, on_write, nullptr);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.width()),
                 static_cast<png_uint_32>(picture.height()), 8, type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    for (int y = 0; y < picture.height(); ++y) png_write_row(png_, picture.row(y));
    png_write_end(png_, nullptr);
    return !out_of_memory_;
  }
  std::string& bytes() { return bytes_; }
  const char* message() const { return out_of_memory_ ? "out of memory" : message_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    PngWriter& self = *static_cast<PngWriter*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof(self.message_), "%s", text);
    std::longjmp(self.jump_, 1);
  }
  static void on_write(png_structp png, png_bytep data, size_t n) {
    PngWriter& self = *static_cast<PngWriter*>(png_get_io_ptr(png));
    try {  // no exception may cross libpng
      self.bytes_.append(reinterpret_cast<const char*>(data), n);
    } catch (...) {
      self.out_of_memory_ = true;
    }
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char message_[200] = "";
  bool out_of_memory_ = false;
  std::string bytes_;
};

}  // namespace

std::string encode_png(const Picture& picture) {
  const int c = picture.channels();
  TS_CHECK(picture.height() >= 1 && picture.width() >= 1 && (c == 1 || c == 3 || c == 4),
           "encode_png: {} x {} with {} channels; wanted at least 1 x 1 with 1, 3 or 4", picture.height(),
           picture.width(), c);
  PngWriter writer;
  TS_CHECK(writer.encode(picture), "encode_png: {}", writer.message());
  return std::move(writer.bytes());
}

void write_png(const std::string& path, const Picture& picture) {
  const std::string bytes = encode_png(picture);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail(ErrorKind::io, "cannot write picture {}: {}", path, std::strerror(errno));
  errno = 0;
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool closed = std::fclose(file) == 0;  // the last bytes leave here, and a full disk shows here
  if (!written || !closed) fail(ErrorKind::io, "cannot write picture {}: {}", path, std::strerror(errno));
}

}  // namespace tessera
