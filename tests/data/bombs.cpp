// data: bombs and hostile files are refused before a pixel is decoded, and in next to no memory.
#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "data/dataset.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

// A field of /proc/self/status, in kB.
int64_t status_kb(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1));
  }
  return 0;
}

// How far the resident memory rises above what it is now while f runs, kB. Linux forgets its highest mark on
// a "5" written to clear_refs.
template <class F> int64_t extra_kb(F&& f) {
  std::ofstream("/proc/self/clear_refs") << "5" << std::flush;
  const int64_t before = status_kb("VmRSS");
  f();
  return status_kb("VmHWM") - before;
}

std::string big_endian(uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}

std::string chunk(const std::string& type, const std::string& content) {
  const std::string body = type + content;
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(content.size())) + body + big_endian(static_cast<uint32_t>(sum));
}

std::string deflated(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::string out(size, '\0');
  compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
            text.size(), 9);
  out.resize(size);
  return out;
}

// A PNG of the size given whose pixel data are `pixels`, with chunks `more` before them.
std::string png(uint32_t height, uint32_t width, const std::string& pixels, const std::string& more = "",
                char interlace = 0) {
  const std::string header = big_endian(width) + big_endian(height) + std::string("\10\2\0\0", 4) + interlace;
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + more + chunk("IDAT", deflated(pixels)) +
         chunk("IEND", "");
}

std::string jpeg(int height, int width, bool progressive, char marker) {
  JpegOptions options;
  options.progressive = progressive;
  std::string file = encode_jpeg(test_picture(32, 32, 3, 1), options);
  const size_t frame = file.find(progressive ? "\xff\xc2" : "\xff\xc0");
  REQUIRE(frame != std::string::npos);
  file[frame + 1] = marker;
  file[frame + 5] = static_cast<char>(height >> 8), file[frame + 6] = static_cast<char>(height);
  file[frame + 7] = static_cast<char>(width >> 8), file[frame + 8] = static_cast<char>(width);
  return file;
}

std::string many_scans(int n) {
  JpegOptions options;
  options.progressive = true;
  std::string file = encode_jpeg(test_picture(256, 256, 3, 2), options);
  file.resize(file.size() - 2);
  const std::string scan = file.substr(file.rfind("\xff\xda"));
  for (int i = 0; i < n; ++i) file += scan;
  return file + "\xff\xd9";
}

struct Bomb {
  const char* what;
  std::string file;
  const char* says;
};

}  // namespace

TEST_CASE("data/bombs: pictures that claim too much are refused by their headers") {
  const std::string zeros(20'000'000, '\0');
  const Bomb bombs[] = {
      {"JPEG 65500 x 65500", jpeg(65500, 65500, false, '\xc0'), "65500 x 65500 pixels exceed the limit"},
      {"JPEG 65535 x 65535", jpeg(65535, 65535, false, '\xc0'), "Maximum supported image dimension is 65500"},
      {"JPEG 13000 x 13000, within the limits", jpeg(13000, 13000, false, '\xc0'), "cannot hold"},
      {"progressive JPEG 13000 x 13000", jpeg(13000, 13000, true, '\xc2'), "cannot hold"},
      {"arithmetic JPEG 13000 x 13000", jpeg(13000, 13000, false, '\xc9'), "cannot hold"},
      {"progressive arithmetic JPEG 13000 x 13000", jpeg(13000, 13000, true, '\xca'), "cannot hold"},
      {"progressive JPEG of 10,000 scans", many_scans(10'000), "more than 100 scans"},
      {"PNG 50000 x 50000", png(50'000, 50'000, "0"), "50000 x 50000 pixels exceed the limit"},
      {"PNG 13000 x 13000, within the limits", png(13'000, 13'000, "0"), "cannot hold"},
      {"interlaced PNG 13000 x 13000", png(13'000, 13'000, "0", "", 1), "cannot hold"},
      {"PNG with a text of 9 MiB", png(8, 8, "0", chunk("zTXt", std::string(9 << 20, 'x'))),
       "beside the pixels"},
  };
  Picture out;
  for (const Bomb& b : bombs) {
    CAPTURE(b.what);
    int chosen = 0;  // asked once the headers have been accepted, before the first pixel
    std::string text;
    const int64_t extra = extra_kb([&] {
      text = complaint(ErrorKind::data, [&] {
        decode_picture(
            {reinterpret_cast<const uint8_t*>(b.file.data()), b.file.size()}, b.what, 3,
            [&](int h, int w) { return ++chosen, whole_picture(h, w); }, out);
      });
    });
    CHECK_MESSAGE(contains(text, b.says), text);
    CHECK(chosen == 0);
    CHECK(extra < 16 * 1024);
  }
}

TEST_CASE("data/bombs: compressed texts and profiles of a PNG are never inflated") {
  std::string rows;
  for (int y = 0; y < 8; ++y) rows += '\0' + std::string(24, static_cast<char>(30 * y));
  const std::string bomb = deflated(std::string(200'000'000, '\0'));  // 200 kB
  const std::string plain = png(8, 8, rows);
  const Picture expected = decode(plain, 3);
  for (const std::string& more :
       {chunk("zTXt", std::string("a\0\0", 3) + bomb), chunk("iCCP", std::string("a\0\0", 3) + bomb),
        chunk("iTXt", std::string("a\0\1\0\0\0", 6) + bomb)}) {
    Picture got;
    const std::string file = png(8, 8, rows, more);
    const int64_t extra = extra_kb([&] { got = decode(file, 3); });
    CHECK(bytes_of(got) == bytes_of(expected));
    CHECK(extra < 16 * 1024);
  }
}

TEST_CASE("data/bombs: gzip that hides gigabytes as an IDX file") {
  const TempDir dir;
  const auto gzipped = [&](const char* name, const std::string& head, int64_t zeros) {
    const std::string path = dir.path(name);
    const gzFile file = gzopen(path.c_str(), "wb9");
    gzwrite(file, head.data(), static_cast<unsigned>(head.size()));
    const std::string block(1 << 20, '\0');
    for (int64_t n = 0; n < zeros; n += 1 << 20) gzwrite(file, block.data(), 1 << 20);
    gzclose(file);
    return path;
  };
  const std::string magic("\0\0\10\3", 4);
  // 200 MiB as the header says; ten bytes as it says, and then 200 MiB more; a terabyte as it says.
  const std::string honest = gzipped(
      "honest.gz", magic + big_endian(200) + big_endian(1024) + big_endian(1024), int64_t{200} << 20);
  const std::string longer = gzipped("longer.gz", magic + big_endian(1) + big_endian(2) + big_endian(5),
                                     int64_t{200} << 20);
  const std::string liar = gzipped(
      "liar.gz", magic + big_endian(1 << 20) + big_endian(1024) + big_endian(1024), 1 << 20);
  CHECK(std::filesystem::file_size(honest) < 1 << 20);
  for (const auto& [path, says] : {std::pair{honest, "asks for 209715200 bytes, more than"},
                                   {longer, "is longer than its header says"},
                                   {liar, "asks for 1099511627776 bytes"}}) {
    std::string text;
    const int64_t extra = extra_kb(
        [&] { text = complaint(ErrorKind::data, [&] { open_dataset("idx:" + path); }); });
    CHECK_MESSAGE(contains(text, says), text);
    CHECK(contains(text, path));
    CHECK(extra < 16 * 1024);
  }
  // What shrinks well and is small stays welcome.
  const std::string flat = gzipped("flat.gz", magic + big_endian(4) + big_endian(512) + big_endian(512),
                                   1 << 20);
  CHECK(open_dataset("idx:" + flat)->size() == 4);
}

// The hostile seeds of the fuzz targets (tools/fuzz_corpus.py): every one is refused, as the input's fault.
TEST_CASE("data/bombs: every hostile picture and IDX file of the fuzz corpus is refused") {
  namespace fs = std::filesystem;
  int seen = 0;
  for (const char* kind : {"jpeg", "png", "idx"}) {
    for (const auto& entry :
         fs::directory_iterator(std::string(TESSERA_SOURCE_DIR "/tests/fuzz/corpus/") + kind)) {
      const std::string path = entry.path().string(), name = entry.path().filename().string();
      if (!name.starts_with("hostile-")) continue;
      CAPTURE(path);
      ++seen;
      Bytes file;
      Picture out;
      std::string text;
      const int64_t extra = extra_kb([&] {
        text = complaint(ErrorKind::data, [&] {
          if (std::string(kind) == "idx") return void(open_dataset("idx:" + path));
          read_picture_file(path, file);
          decode_picture({file.data(), file.size()}, path, 3, whole_picture, out);
        });
      });
      CHECK_MESSAGE(contains(text, path), text);
      CHECK(extra < 16 * 1024);
    }
  }
  CHECK(seen > 60);
}

}  // namespace tessera::test
