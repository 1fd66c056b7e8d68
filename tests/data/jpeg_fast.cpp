// data/jpeg_fast: libjpeg's pixels to the bit, whatever the part, and no answer to what is damaged.
#include "data/jpeg_fast.h"

#include <doctest/doctest.h>

#include "engine/random.h"
#include "engine/simd.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

#ifdef TESSERA_AVX512
constexpr bool kHasFast = true;
#else
constexpr bool kHasFast = false;
#endif

// A file whose header libjpeg has read; then either decoder.
struct Header {
  explicit Header(const std::string& file) {
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    jpeg_read_header(&info, TRUE);
  }
  ~Header() { jpeg_destroy_decompress(&info); }
  Header(const Header&) = delete;
  Header& operator=(const Header&) = delete;

  bool fast(Box box, Picture& out) {
    return decode_jpeg_fast(info, {info.src->next_input_byte, info.src->bytes_in_buffer}, 3, box, out);
  }
  Picture slow() {
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    Picture p(static_cast<int>(info.output_height), static_cast<int>(info.output_width), 3);
    while (info.output_scanline < info.output_height) {
      JSAMPROW row = p.row(static_cast<int>(info.output_scanline));
      jpeg_read_scanlines(&info, &row, 1);
    }
    return p;
  }

  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
};

// Noise of blocks of `side` pixels, all black or white: coefficients and sums as large as they get.
Picture stark_picture(int height, int width, int side, uint64_t seed) {
  Picture p(height, width, 3);
  const Philox random(seed, Purpose::test, 3, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const uint64_t at = static_cast<uint64_t>((y / side * width + x / side) * 3 + c);
        p.row(y)[3 * x + c] = random.bits(at) % 2 ? 255 : 0;
      }
    }
  }
  return p;
}

// Some boxes of the file: the whole, thin ones at every edge, others at random.
void check_equal(const std::string& file, uint64_t seed) {
  const Picture whole = Header(file).slow();
  const int h = whole.height(), w = whole.width();
  std::vector<Box> boxes = {
      {0, 0, h, w}, {0, 0, 1, 1}, {h - 1, w - 1, 1, 1}, {0, w - 1, h, 1}, {h - 1, 0, 1, w}};
  const Philox random(seed, Purpose::test, 4, 0);
  for (uint64_t i = 0; i < 40; ++i) {
    const auto below = [&](uint64_t j, int n) {
      return static_cast<int>(random.below(4 * i + j, static_cast<uint32_t>(n)));
    };
    const int height = 1 + below(0, h), width = 1 + below(1, w);
    boxes.push_back({below(2, h - height + 1), below(3, w - width + 1), height, width});
  }
  for (const Box& box : boxes) {
    CAPTURE(box.top);
    CAPTURE(box.left);
    CAPTURE(box.height);
    CAPTURE(box.width);
    Picture part;
    REQUIRE(Header(file).fast(box, part) == kHasFast);
    if (kHasFast) REQUIRE(bytes_of(part) == cut(whole, box));
  }
}

}  // namespace

TEST_CASE("data/jpeg_fast: libjpeg's pixels for every sampling, quality, size and restart interval") {
  uint64_t seed = 1;
  for (const auto& [h, v] : {std::pair{1, 1}, {2, 1}, {2, 2}}) {
    for (const int quality : {100, 90, 30, 1}) {
      for (const auto& [height, width] : {std::pair{1, 32}, {83, 117}, {64, 96}, {17, 333}}) {
        for (const int restart : {0, 1, 3, 1000}) {
          CAPTURE(h);
          CAPTURE(v);
          CAPTURE(quality);
          CAPTURE(height);
          CAPTURE(restart);
          JpegOptions options;
          options.quality = quality;
          options.h = h;
          options.v = v;
          options.restart_units = restart;
          check_equal(encode_jpeg(test_picture(height, width, 3, seed), options), seed);
          check_equal(
              encode_jpeg(stark_picture(height, width, 1 + static_cast<int>(seed % 9), seed), options), seed);
          ++seed;
        }
      }
    }
  }
}

TEST_CASE("data/jpeg_fast: other kinds are left to libjpeg") {
  JpegOptions progressive, tall;
  progressive.progressive = true;
  tall.h = 1;
  tall.v = 2;
  Picture out;
  const Picture p = test_picture(64, 64, 3, 1);
  CHECK_FALSE(Header(encode_jpeg(p, progressive)).fast({0, 0, 64, 64}, out));
  CHECK_FALSE(Header(encode_jpeg(p, tall)).fast({0, 0, 64, 64}, out));
  CHECK_FALSE(Header(encode_jpeg(test_picture(64, 64, 1, 1))).fast({0, 0, 64, 64}, out));
}

TEST_CASE("data/jpeg_fast: numbers of tables that cannot be are refused, as libjpeg does") {
  const std::string file = encode_jpeg(test_picture(64, 64, 3, 1));
  Picture out;
  const size_t frame = file.find("\xff\xc0"), scan = file.find("\xff\xda");
  REQUIRE(Header(file).fast({0, 0, 64, 64}, out) == kHasFast);
  for (size_t i = 0; i < 3; ++i) {
    for (const char number : {'\x04', '\x7f', '\xff'}) {
      std::string quantisation = file, entropy = file;
      quantisation[frame + 12 + 3 * i] = number;
      CHECK_FALSE(Header(quantisation).fast({0, 0, 64, 64}, out));
      entropy[scan + 6 + 2 * i] = number;
      CHECK_FALSE(Header(entropy).fast({0, 0, 64, 64}, out));
    }
  }
}

TEST_CASE("data/jpeg_fast: damage before the box ends gets no answer, or libjpeg's") {
  JpegOptions options;
  for (const int restart : {0, 5}) {
    options.restart_units = restart;
    const std::string file = encode_jpeg(test_picture(64, 80, 3, 2), options);
    const size_t scan = file.find("\xff\xda");
    Picture out;
    // Cut short: no end, or an end too early.
    for (size_t n = scan + 14; n + 3 < file.size(); n += 11) {
      CAPTURE(n);
      CHECK_FALSE(Header(file.substr(0, n)).fast({0, 0, 64, 80}, out));
      if (file[n - 1] == '\xff') continue;
      CHECK_FALSE(Header(file.substr(0, n) + "\xff\xd9").fast({0, 0, 64, 80}, out));
    }
    int refused = 0, same = 0;
    const Philox random(9, Purpose::test, 5, static_cast<uint64_t>(restart));
    for (uint64_t trial = 0; trial < 500; ++trial) {
      std::string damaged = file;
      const uint32_t at = random.below(2 * trial, static_cast<uint32_t>(file.size() - scan - 16));
      damaged[scan + 14 + at] = static_cast<char>(random.bits(2 * trial + 1));
      if (!Header(damaged).fast({0, 0, 64, 80}, out)) {
        ++refused;
        continue;
      }
      Header slow(damaged);
      slow.errors.emit_message = [](j_common_ptr, int) {};
      REQUIRE(bytes_of(out) == bytes_of(slow.slow()));
      ++same;
    }
    CHECK(refused > 20);
    CHECK(same + refused == 500);
    CHECK((same > 20 || !kHasFast));
  }
}

}  // namespace tessera::test
