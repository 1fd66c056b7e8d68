#include "data/decode.h"

#include <fcntl.h>
#include <jpeglib.h>
#include <png.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
// jpeglib.h first: jerror.h needs it.
#include <jerror.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "data/jpeg_fast.h"
#include "engine/check.h"

namespace tessera {
namespace {

using File = std::span<const uint8_t>;

[[noreturn]] void refuse(const std::string& name, const std::string& reason) {
  fail(ErrorKind::data, "picture {}: {}; replace the file or take it out of the data set", name, reason);
}

void check_size(const std::string& name, int64_t height, int64_t width, const DecodeLimits& limits) {
  if (height < 1 || width < 1) refuse(name, "it has no pixels");
  if (height > limits.max_side || width > limits.max_side || height * width > limits.max_pixels) {
    refuse(name, fmt::format("{} x {} pixels exceed the limit of {} pixels, {} a side", height, width,
                             limits.max_pixels, limits.max_side));
  }
}

Box chosen_box(const std::string& name, int height, int width, const ChooseBox& choose) {
  const Box box = choose(height, width);
  TS_CHECK(is_inside(box, height, width),
           "decode_picture: {} is {} x {}, the part wanted {} x {} at ({}, {})", name, height, width,
           box.height, box.width, box.top, box.left);
  return box;
}

uint32_t big_endian_32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}

// ---- JPEG -------------------------------------------------------------------------------------------------

// Markers that follow the pixels' own bytes: walks the file once, marker by marker.
struct JpegScans {
  int scans = 0;
  bool ended = false;  // an end-of-image marker follows the last scan
};
JpegScans count_scans(File file, int stop_at) {
  JpegScans found;
  size_t at = 2;
  while (at + 1 < file.size()) {
    const void* next = std::memchr(&file[at], 0xff, file.size() - 1 - at);
    if (next == nullptr) break;
    at = static_cast<size_t>(static_cast<const uint8_t*>(next) - file.data()) + 1;
    const uint8_t marker = file[at];
    if (marker == 0xff) continue;  // fill byte: the marker follows
    ++at;
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8))
      continue;  // a stuffed byte, or no content
    if (marker == 0xd9) {
      found.ended = true;
      break;
    }
    if (at + 2 > file.size()) break;
    if (marker == 0xda && ++found.scans > stop_at) break;
    at += size_t{file[at]} << 8 | file[at + 1];
  }
  return found;
}

// Owns libjpeg's decoder. libjpeg reports errors by longjmp: functions that set the jump keep no local that
// has a destructor and no local that changes after setjmp; both live in members.
class JpegReader {
 public:
  explicit JpegReader(File file) : file_(file) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = [](j_common_ptr info) { give_up(info); };
    errors_.base.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && means_corrupt(info->err->msg_code)) give_up(info);
    };
    created_ = create();
  }
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&info_);
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Each returns false when libjpeg gave up; message() says why.
  bool read_header() {
    if (!created_) return false;
    if (setjmp(errors_.jump)) return false;
    jpeg_mem_src(&info_, file_.data(), static_cast<unsigned long>(file_.size()));
    jpeg_read_header(&info_, TRUE);
    return true;
  }
  bool start(Box box, J_COLOR_SPACE colours) {
    if (setjmp(errors_.jump)) return false;
    info_.out_color_space = colours;
    jpeg_start_decompress(&info_);
    // Smooth upsampling of colour looks one pixel beyond each side; libjpeg widens to whole blocks by itself.
    constexpr int kMargin = 2;
    const bool whole = smooths_blocks();
    first_column_ = whole ? 0 : static_cast<JDIMENSION>(std::max(box.left - kMargin, 0));
    columns_ = info_.output_width - first_column_;
    if (!whole) columns_ = std::min(static_cast<JDIMENSION>(box.right() + kMargin) - first_column_, columns_);
    if (columns_ < info_.output_width) jpeg_crop_scanline(&info_, &first_column_, &columns_);
    const size_t bytes = size_t{columns_} * static_cast<size_t>(info_.output_components);
    row_ = *(*info_.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&info_), JPOOL_IMAGE,
                                       static_cast<JDIMENSION>(bytes), 1);
    if (whole) {
      while (info_.output_scanline < static_cast<JDIMENSION>(box.top)) jpeg_read_scanlines(&info_, &row_, 1);
    } else if (box.top > 0) {
      jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(box.top));
    }
    return true;
  }
  bool read_row() {
    if (setjmp(errors_.jump)) return false;
    jpeg_read_scanlines(&info_, &row_, 1);
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  // What follows the header.
  File rest() const { return {info_.src->next_input_byte, info_.src->bytes_in_buffer}; }
  // The row that was read last, from column `left` of the picture on.
  uint8_t* row(int left) const {
    return row_ + (static_cast<size_t>(left) - first_column_) * static_cast<size_t>(info_.output_components);
  }
  std::string message() {
    char text[JMSG_LENGTH_MAX] = "out of memory";
    if (created_) errors_.base.format_message(reinterpret_cast<j_common_ptr>(&info_), text);
    return text;
  }

 private:
  struct Errors {
    jpeg_error_mgr base;  // first: libjpeg knows only this part
    std::jmp_buf jump;
  };

  [[noreturn]] static void give_up(j_common_ptr info) {
    std::longjmp(reinterpret_cast<Errors*>(info->err)->jump, 1);
  }
  // Warnings about bytes that can be passed over harm no pixel; all others do.
  static bool means_corrupt(int code) {
    return code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR &&
           code != JWRN_TOO_MUCH_DATA;
  }
  // A progressive file without its last scans: libjpeg smooths its blocks by their neighbours two blocks
  // away, which a partial decode lacks.
  bool smooths_blocks() const {
    if (!info_.progressive_mode || info_.coef_bits == nullptr) return false;
    for (int c = 0; c < info_.num_components; ++c) {
      for (int i = 0; i < DCTSIZE2; ++i) {
        if (info_.coef_bits[c][i] != 0) return true;
      }
    }
    return false;
  }
  bool create() {
    if (setjmp(errors_.jump)) return false;
    jpeg_create_decompress(&info_);
    return true;
  }

  File file_;
  jpeg_decompress_struct info_{};
  Errors errors_{};
  bool created_ = false;
  JSAMPROW row_ = nullptr;
  JDIMENSION first_column_ = 0, columns_ = 0;
};

// CMYK as Adobe stores it (inverted) to RGB, in place: Pillow's arithmetic.
void cmyk_to_rgb(uint8_t* row, int n) {
  uint8_t* to = row;
  for (const uint8_t* p = row; p < row + int64_t{4} * n; p += 4, to += 3) {
    const int key = p[3];  // 255 - K
    uint8_t rgb[3];
    for (int c = 0; c < 3; ++c) {
      const int t = (255 - p[c]) * key + 128;
      rgb[c] = static_cast<uint8_t>(std::clamp(key - (((t >> 8) + t) >> 8), 0, 255));
    }
    std::memcpy(to, rgb, 3);
  }
}

void decode_jpeg(File file, const std::string& name, int channels, const ChooseBox& choose, Picture& out,
                 const DecodeLimits& limits) {
  JpegReader reader(file);
  if (!reader.read_header()) refuse(name, reader.message());
  const jpeg_decompress_struct& info = reader.info();
  check_size(name, info.image_height, info.image_width, limits);
  const int components = info.num_components;
  if (components != 1 && components != 3 && components != 4)
    refuse(name, fmt::format("a JPEG of {} components", components));
  // A Huffman code spends a bit at least on every block of 64 pixels: a small file cannot hold a large
  // picture, nor make libjpeg take memory for one. An arithmetic code may spend less on a flat picture; it is
  // given 16 times as many pixels, or four megapixels.
  const int64_t pixels = int64_t{info.image_height} * info.image_width;
  const int64_t most = std::ssize(file) * 512;
  if (pixels > (info.arith_code ? std::max<int64_t>(16 * most, 4 << 20) : most + 511)) {
    refuse(name, fmt::format("truncated JPEG ({} bytes cannot hold {} x {} pixels)", file.size(),
                             info.image_height, info.image_width));
  }
  const JpegScans found = count_scans(file, limits.max_scans);
  if (found.scans > limits.max_scans) refuse(name, fmt::format("more than {} scans", limits.max_scans));
  if (!found.ended) refuse(name, "truncated JPEG (no end marker)");
  if (channels == 4) refuse(name, "4 channels wanted, and a JPEG has no transparency");

  const Box box = chosen_box(name, static_cast<int>(info.image_height), static_cast<int>(info.image_width),
                             choose);
  if (found.scans == 1 && decode_jpeg_fast(info, reader.rest(), channels, box, out)) return;
  out.reset(box.height, box.width, channels);
  if (!reader.start(box, components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK)) {
    refuse(name, reader.message());
  }
  for (int y = 0; y < box.height; ++y) {
    if (!reader.read_row()) refuse(name, reader.message());
    uint8_t* row = reader.row(box.left);
    if (components == 4) cmyk_to_rgb(row, box.width);
    convert_channels(out.row(y), channels, row, std::min(components, 3), box.width);
  }
}

// ---- PNG --------------------------------------------------------------------------------------------------

// Walks the chunks: all there to the end, sums of those that matter right, none of the others too large.
// (libpng checks the sums of what it reads only, which would depend on the part that is wanted.)
void check_png_chunks(File file, const std::string& name, const DecodeLimits& limits) {
  size_t at = 8;
  for (;;) {
    if (file.size() - at < 12) refuse(name, "truncated PNG");
    const uint8_t* type = &file[at + 4];
    const uint32_t length = big_endian_32(&file[at]);
    if (length > file.size() - at - 12) refuse(name, "truncated PNG");
    if ((type[0] & 0x20) != 0) {  // lower case: ancillary
      if (length > limits.max_png_chunk) {
        refuse(name, fmt::format("a PNG chunk of {} bytes beside the pixels, more than {}", length,
                                 limits.max_png_chunk));
      }
    } else if (crc32(0, type, length + 4) != big_endian_32(type + 4 + length)) {
      refuse(name, fmt::format("corrupt PNG (wrong check sum at byte {})", at));
    }
    if (std::memcmp(type, "IEND", 4) == 0) return;
    at += size_t{length} + 12;
  }
}

// Owns libpng's decoder; the same rules about longjmp as JpegReader.
class PngReader {
 public:
  explicit PngReader(File file) : file_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, [](png_structp, png_const_charp) {});
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    TS_CHECK(info_ != nullptr, "decode_picture: libpng {} cannot be set up", PNG_LIBPNG_VER_STRING);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool read_header() {
    if (setjmp(jump_)) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);  // check_png_chunks did
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr,
                                -1);                              // texts, profiles: never inflated
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size says it in our words
    png_read_info(png_, info_);
    return true;
  }
  // Converts to 8 bits of 1 or 3 channels, or of 4 when `alpha` is wanted.
  bool start(bool alpha) {
    if (setjmp(jump_)) return false;
    const int type = png_get_color_type(png_, info_);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_16(png_);
    if (alpha) {
      png_set_tRNS_to_alpha(png_);
      png_set_gray_to_rgb(png_);
    } else {
      png_set_strip_alpha(png_);
    }
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  bool read_row(uint8_t* row) {
    if (setjmp(jump_)) return false;
    png_read_row(png_, row, nullptr);
    return true;
  }
  bool read_all(uint8_t** rows) {
    if (setjmp(jump_)) return false;
    png_read_image(png_, rows);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  int channels() const { return png_get_channels(png_, info_); }
  bool interlaced() const { return png_get_interlace_type(png_, info_) != PNG_INTERLACE_NONE; }
  bool has_alpha() const {
    return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0 ||
           png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
  }
  const char* message() const { return message_; }

 private:
  [[noreturn]] static void on_error(png_structp png, png_const_charp text) {
    PngReader& self = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof(self.message_), "%s", text);
    std::longjmp(self.jump_, 1);
  }
  static void on_read(png_structp png, png_bytep to, size_t n) {
    PngReader& self = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (n > self.file_.size() - self.at_) png_error(png, "truncated PNG");
    std::memcpy(to, self.file_.data() + self.at_, n);
    self.at_ += n;
  }

  File file_;
  size_t at_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_;
  char message_[200] = "";
};

void decode_png(File file, const std::string& name, int channels, const ChooseBox& choose, Picture& out,
                const DecodeLimits& limits) {
  check_png_chunks(file, name, limits);
  PngReader reader(file);
  if (!reader.read_header()) refuse(name, reader.message());
  check_size(name, reader.height(), reader.width(), limits);
  // Deflate shrinks at most 1032 times: a small file cannot hold a large picture, whatever its header says.
  if (reader.row_bytes() * static_cast<size_t>(reader.height()) / 1032 > file.size()) {
    refuse(name, fmt::format("truncated PNG ({} bytes cannot hold {} x {} pixels)", file.size(),
                             reader.height(), reader.width()));
  }
  const bool alpha = channels == 4;
  if (alpha && !reader.has_alpha()) refuse(name, "4 channels wanted, and this PNG has no transparency");
  const Box box = chosen_box(name, static_cast<int>(reader.height()), static_cast<int>(reader.width()),
                             choose);
  if (!reader.start(alpha)) refuse(name, reader.message());
  out.reset(box.height, box.width, channels);

  const int have = reader.channels();
  const size_t left = static_cast<size_t>(box.left) * static_cast<size_t>(have);
  thread_local Bytes scratch;
  if (reader.interlaced()) {  // pixels come in seven passes: all of them or none
    uint8_t* pixels = scratch.resize(reader.row_bytes() * static_cast<size_t>(reader.height()));
    std::vector<uint8_t*> rows;
    for (int64_t y = 0; y < reader.height(); ++y)
      rows.push_back(pixels + static_cast<size_t>(y) * reader.row_bytes());
    if (!reader.read_all(rows.data())) refuse(name, reader.message());
    for (int y = 0; y < box.height; ++y) {
      convert_channels(out.row(y), channels, rows[static_cast<size_t>(box.top + y)] + left, have, box.width);
    }
    return;
  }
  uint8_t* row = scratch.resize(reader.row_bytes());
  for (int y = 0; y < box.bottom(); ++y) {
    if (!reader.read_row(row)) refuse(name, reader.message());
    if (y >= box.top) convert_channels(out.row(y - box.top), channels, row + left, have, box.width);
  }
}

// First bytes of a file that is no picture, as text.
std::string beginning(File file) {
  std::string text;
  for (const uint8_t c : file.first(std::min<size_t>(file.size(), 8)))
    text += c >= 32 && c < 127 ? static_cast<char>(c) : '.';
  return text;
}

}  // namespace

void decode_picture(File file, const std::string& name, int channels, const ChooseBox& choose, Picture& out,
                    const DecodeLimits& limits) {
  TS_CHECK(channels == 1 || channels == 3 || channels == 4,
           "decode_picture: {} channels wanted of {}; there are 1, 3 and 4", channels, name);
  static constexpr uint8_t kPng[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (file.empty()) refuse(name, "an empty file");
  if (file.size() >= 3 && file[0] == 0xff && file[1] == 0xd8 && file[2] == 0xff) {
    decode_jpeg(file, name, channels, choose, out, limits);
  } else if (file.size() >= sizeof(kPng) && std::memcmp(file.data(), kPng, sizeof(kPng)) == 0) {
    decode_png(file, name, channels, choose, out, limits);
  } else {
    refuse(name, fmt::format("neither JPEG nor PNG (it begins with \"{}\")", beginning(file)));
  }
}

void read_picture_file(const std::string& path, Bytes& out, const DecodeLimits& limits) {
  struct Descriptor {
    int fd;
    ~Descriptor() {
      if (fd >= 0) ::close(fd);
    }
  };
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0)
    refuse(path, fmt::format("cannot be opened ({})", std::strerror(errno)));
  if (!S_ISREG(status.st_mode)) refuse(path, "not a file");
  if (status.st_size > limits.max_file_bytes) {
    refuse(path, fmt::format("{} bytes, more than {}", status.st_size, limits.max_file_bytes));
  }
  const size_t size = static_cast<size_t>(status.st_size);
  uint8_t* to = out.resize(size);
  for (size_t at = 0; at < size;) {
    const ssize_t n = ::read(file.fd, to + at, size - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse(path, fmt::format("cannot be read ({})", std::strerror(errno)));
    if (n == 0) refuse(path, "became shorter while it was read");
    at += static_cast<size_t>(n);
  }
}

bool has_picture_extension(const std::string& file_name) {
  const size_t dot = file_name.rfind('.');
  if (dot == std::string::npos) return false;
  std::string extension = file_name.substr(dot);
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

}  // namespace tessera
