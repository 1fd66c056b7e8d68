// data/decode: the same pixels as Pillow, whole or in part, and a clear refusal of everything else.
#include "data/decode.h"

#include <doctest/doctest.h>

#include <chrono>

#include "engine/random.h"
#include "engine/safetensors.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

std::string file_of(const Tensor& bytes) {
  return {reinterpret_cast<const char*>(bytes.data<uint8_t>()), static_cast<size_t>(bytes.numel())};
}

// The part of `file` that a decode of `box` alone gives must be that part of the whole picture.
void check_parts(const std::string& file, int channels, int trials, uint64_t seed) {
  const Picture whole = decode(file, channels);
  const Philox random(seed, Purpose::test, 1, 0);
  for (int t = 0; t < trials; ++t) {
    const uint64_t at = 4 * static_cast<uint64_t>(t);
    Box box;
    box.height = 1 + static_cast<int>(random.below(at, static_cast<uint32_t>(whole.height())));
    box.width = 1 + static_cast<int>(random.below(at + 1, static_cast<uint32_t>(whole.width())));
    box.top = static_cast<int>(random.below(at + 2, static_cast<uint32_t>(whole.height() - box.height) + 1));
    box.left = static_cast<int>(random.below(at + 3, static_cast<uint32_t>(whole.width() - box.width) + 1));
    const Picture part = decode(file, channels, [&](int h, int w) {
      CHECK(h == whole.height());
      CHECK(w == whole.width());
      return box;
    });
    CAPTURE(box.top);
    CAPTURE(box.left);
    CAPTURE(box.height);
    CAPTURE(box.width);
    REQUIRE(part.height() == box.height);
    REQUIRE(part.width() == box.width);
    REQUIRE(bytes_of(part) == cut(whole, box));
  }
}

// The refusal of `file`, which must name it.
std::string refusal(const std::string& file, int channels = 3, const DecodeLimits& limits = {}) {
  const std::string text = complaint(ErrorKind::data, [&] { decode(file, channels, whole_picture, limits); });
  CHECK(contains(text, "dir/x.pic"));
  return text;
}

void put_32(std::string& file, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) file[at + i] = static_cast<char>(value >> (24 - 8 * i));
}

}  // namespace

TEST_CASE("data/decode: every kind of file gives Pillow's pixels") {
  const SafeTensors pictures = load_safetensors(golden("pictures.safetensors"));
  int files = 0;
  for (const auto& [name, bytes] : pictures.tensors) {
    if (name.rfind("file.", 0) != 0) continue;
    const std::string file = file_of(bytes), what = name.substr(5);
    CAPTURE(what);
    CHECK(bytes_of(decode(file, 3)) == bytes_of(pictures.at("rgb." + what)));
    CHECK(bytes_of(decode(file, 1)) == bytes_of(pictures.at("grey." + what)));
    if (const Tensor* rgba = pictures.find("rgba." + what)) {
      CHECK(bytes_of(decode(file, 4)) == bytes_of(*rgba));
    } else {
      CHECK(contains(refusal(file, 4), "no transparency"));
    }
    check_parts(file, 3, 20, 3);
    ++files;
  }
  CHECK(files == 17);
}

TEST_CASE("data/decode: part of a JPEG equals that part of the whole") {
  uint64_t seed = 1;
  for (const auto& [h, v] : {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {4, 2}}) {
    for (const bool progressive : {false, true}) {
      for (const auto& [height, width] : {std::pair{83, 117}, {64, 96}, {17, 200}}) {
        CAPTURE(h);
        CAPTURE(v);
        CAPTURE(progressive);
        CAPTURE(height);
        JpegOptions options;
        options.h = h;
        options.v = v;
        options.progressive = progressive;
        options.restart_rows = height == 64 ? 1 : 0;
        check_parts(encode_jpeg(test_picture(height, width, 3, seed), options), 3, 60, seed);
        ++seed;
      }
    }
  }
  check_parts(encode_jpeg(test_picture(50, 61, 1, 1)), 1, 100, 1);
  JpegOptions ycck;
  ycck.ycck = true;
  check_parts(encode_jpeg(test_picture(50, 61, 4, 1), ycck), 3, 100, 1);
}

TEST_CASE("data/decode: part of a JPEG whose last scans were left out") {
  JpegOptions options;
  options.coarse_only = true;
  check_parts(encode_jpeg(test_picture(90, 110, 3, 4), options), 3, 100, 4);
}

TEST_CASE("data/decode: PNG of 16 bits keeps the high byte, interlaced or not") {
  for (const int channels : {1, 2, 3, 4}) {
    for (const int bits : {8, 16}) {
      for (const bool interlaced : {false, true}) {
        CAPTURE(channels);
        CAPTURE(bits);
        CAPTURE(interlaced);
        const Picture p = test_picture(19, 23, channels, 5);
        const std::string file = encode_png_as(p, {bits, interlaced});
        const int colours = channels == 2 ? 1 : channels;
        if (channels != 2) CHECK(bytes_of(decode(file, colours)) == bytes_of(p));
        check_parts(file, 3, 30, 5);
        if (channels == 2) CHECK(bytes_of(decode(file, 4)).size() == p.size() * 2);
      }
    }
  }
}

TEST_CASE("data/decode: a truncated file is refused at any length, whatever part is wanted") {
  const Picture p = test_picture(40, 52, 3, 6);
  JpegOptions progressive;
  progressive.progressive = true;
  for (const std::string& file :
       {encode_jpeg(p), encode_jpeg(p, progressive), encode_png_as(p, {}), encode_png_as(p, {8, true})}) {
    const auto top_row = [](int, int w) { return Box{0, 0, 1, w}; };
    CHECK(decode(file, 3, top_row).height() == 1);
    for (size_t n = 0; n < file.size(); n += n < 700 ? 1 : 37) {
      CAPTURE(n);
      const std::string shorter = file.substr(0, n);
      refusal(shorter);
      CHECK(contains(complaint(ErrorKind::data, [&] { decode(shorter, 3, top_row); }), "dir/x.pic"));
    }
    refusal(file.substr(0, file.size() - 1));
  }
}

TEST_CASE("data/decode: damaged bytes are refused or decoded, never a crash") {
  const Picture p = test_picture(40, 52, 3, 7);
  JpegOptions progressive;
  progressive.progressive = true;
  int refused = 0, decoded = 0;
  const Philox random(7, Purpose::test, 2, 0);
  uint64_t draw = 0;
  for (const std::string& file :
       {encode_jpeg(p), encode_jpeg(p, progressive), encode_png_as(p, {}), encode_png_as(p, {16, true})}) {
    for (int trial = 0; trial < 400; ++trial) {
      std::string damaged = file;
      const uint32_t changes = 1 + random.below(draw++, 4);
      for (uint32_t i = 0; i < changes; ++i) {
        const uint32_t at = random.below(draw++, static_cast<uint32_t>(file.size()));
        damaged[at] = static_cast<char>(random.bits(draw++));
      }
      DecodeLimits limits;
      limits.max_pixels = 1'000'000;
      const std::string text = complaint(ErrorKind::data, [&] { decode(damaged, 3, whole_picture, limits); });
      text == "accepted" ? ++decoded : ++refused;
      CHECK((text == "accepted" || contains(text, "dir/x.pic")));
    }
  }
  CHECK(refused > 400);
  CHECK(decoded > 0);
}

TEST_CASE("data/decode: damage to a PNG is found even outside the part that is wanted") {
  std::string file = encode_png_as(test_picture(64, 64, 3, 8), {});
  file[file.size() - 30] = static_cast<char>(file[file.size() - 30] ^ 1);
  const auto top_row = [](int, int w) { return Box{0, 0, 1, w}; };
  CHECK(contains(complaint(ErrorKind::data, [&] { decode(file, 3, top_row); }), "check sum"));
}

TEST_CASE("data/decode: what is no picture is refused and said to be none") {
  CHECK(contains(refusal(""), "empty file"));
  CHECK(contains(refusal("a,b,c\n1,2,3\n"), "neither JPEG nor PNG"));
  CHECK(contains(refusal("GIF89a........"), "GIF89a"));
  CHECK(contains(refusal(std::string(1000, '\0')), "neither JPEG nor PNG"));
  refusal("\xff\xd8\xff");
  refusal("\x89PNG\r\n\x1a\n");
}

TEST_CASE("data/decode: limits are held before pixels are decoded") {
  std::string jpeg = encode_jpeg(test_picture(32, 32, 3, 9));
  const size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  for (const size_t at : {frame + 5, frame + 7}) jpeg[at] = '\xff', jpeg[at + 1] = '\xdc';  // 65500 x 65500
  std::string png = encode_png_as(test_picture(32, 32, 3, 9), {});
  const auto begin = std::chrono::steady_clock::now();
  CHECK(contains(refusal(jpeg), "exceed the limit of 178000000"));
  for (const size_t at : {frame + 5, frame + 7}) jpeg[at] = '\x32', jpeg[at + 1] = '\xc8';  // 13000 x 13000
  CHECK(contains(refusal(jpeg), "cannot hold"));

  DecodeLimits small;
  small.max_side = 31;
  CHECK(contains(refusal(png, 3, small), "exceed the limit"));
  small.max_side = 32;
  small.max_pixels = 1023;
  CHECK(contains(refusal(png, 3, small), "exceed the limit"));
  small.max_pixels = 1024;
  CHECK(decode(png, 3, whole_picture, small).width() == 32);
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 0.5);
}

TEST_CASE("data/decode: a PNG whose header promises more than its bytes can hold") {
  std::string png = encode_png_as(test_picture(32, 32, 3, 9), {});
  put_32(png, 16, 13'000);
  put_32(png, 20, 13'000);
  CHECK(contains(refusal(png), "check sum"));
  // The same with a right check sum (IHDR's, computed bit by bit here).
  uint32_t crc = 0xffffffffu;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<uint8_t>(png[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
  }
  put_32(png, 29, ~crc);
  CHECK(contains(refusal(png), "cannot hold"));
}

TEST_CASE("data/decode: too many scans, and too large a chunk beside the pixels") {
  JpegOptions options;
  options.progressive = true;
  const std::string file = encode_jpeg(test_picture(32, 32, 3, 10), options);
  DecodeLimits limits;
  limits.max_scans = 3;
  CHECK(contains(refusal(file, 3, limits), "more than 3 scans"));
  limits.max_scans = 10;  // what libjpeg's own script has for colour
  CHECK(decode(file, 3, whole_picture, limits).width() == 32);
  // A bomb: the last scan over and over.
  std::string bomb = file.substr(0, file.size() - 2);
  const std::string scan = bomb.substr(bomb.rfind("\xff\xda"));
  for (int i = 0; i < 10'000; ++i) bomb += scan;
  bomb += "\xff\xd9";
  const auto begin = std::chrono::steady_clock::now();
  CHECK(contains(refusal(bomb), "more than 100 scans"));
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 0.5);

  std::string png = encode_png_as(test_picture(8, 8, 3, 10), {});
  std::string chunk(4, '\0');
  put_32(chunk, 0, 9u << 20);
  chunk += "zTXt" + std::string((9u << 20) + 4, 'x');
  png.insert(33, chunk);  // after IHDR
  CHECK(contains(refusal(png), "beside the pixels"));
}

TEST_CASE("data/decode: files that cannot be read name the path") {
  const TempDir dir;
  Bytes bytes;
  CHECK(contains(complaint(ErrorKind::data, [&] { read_picture_file(dir.path("absent.jpg"), bytes); }),
                 "absent.jpg"));
  CHECK(contains(complaint(ErrorKind::data, [&] { read_picture_file(dir.path(), bytes); }), "not a file"));
  const std::string path = dir.write("a.png", "12345");
  read_picture_file(path, bytes);
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == "12345");
  DecodeLimits limits;
  limits.max_file_bytes = 4;
  CHECK(contains(complaint(ErrorKind::data, [&] { read_picture_file(path, bytes, limits); }),
                 "5 bytes, more than 4"));
}

}  // namespace tessera::test
