#include "tests/data/pictures.h"

#include <doctest/doctest.h>
#include <png.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
// jpeglib.h needs FILE.
#include <jpeglib.h>

#include "engine/random.h"

namespace tessera::test {

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tessera-data-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  dir_ = pattern;
}
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}
std::string TempDir::write(const std::string& name, const std::string& bytes) const {
  std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
  std::ofstream file(path(name), std::ios::binary);
  file << bytes;
  REQUIRE(file.good());
  return path(name);
}

Picture test_picture(int height, int width, int channels, uint64_t seed) {
  Picture p(height, width, channels);
  const Philox random(seed, Purpose::test, 0, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const uint64_t at = static_cast<uint64_t>((y * width + x) * channels + c);
        const double wave = 110 * std::sin(0.2 * (c + 1) * x + 0.13 * y + c) * std::cos(0.11 * y * (c + 1));
        p.row(y)[x * channels + c] = static_cast<uint8_t>(
            std::clamp(128 + wave + random.uniform(at, -17, 17), 0.0, 255.0));
      }
    }
  }
  return p;
}

namespace {

// Progressive scripts that libjpeg does not make by itself.
std::vector<jpeg_scan_info> scan_script(int components, const JpegOptions& o) {
  std::vector<jpeg_scan_info> scans;
  jpeg_scan_info dc = {components, {0, 1, 2, 3}, 0, 0, 0, o.coarse_only ? 1 : 0};
  scans.push_back(dc);
  for (int c = 0; c < components; ++c) scans.push_back({1, {c}, 1, 5, 0, o.coarse_only ? 2 : 0});
  if (o.coarse_only) return scans;
  for (int c = 0; c < components; ++c) scans.push_back({1, {c}, 6, 63, 0, 9});
  for (int i = static_cast<int>(scans.size()), bit = 9; i < o.repeat_scans && bit > 0; ++i, --bit) {
    scans.push_back({1, {0}, 6, 63, bit, bit - 1});
  }
  return scans;
}

}  // namespace

std::string encode_jpeg(const Picture& p, const JpegOptions& o) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(p.width());
  info.image_height = static_cast<JDIMENSION>(p.height());
  info.input_components = p.channels();
  info.in_color_space = p.channels() == 1 ? JCS_GRAYSCALE : p.channels() == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (o.ycck) jpeg_set_colorspace(&info, JCS_YCCK);
  jpeg_set_quality(&info, o.quality, TRUE);
  info.comp_info[0].h_samp_factor = p.channels() == 1 ? 1 : o.h;
  info.comp_info[0].v_samp_factor = p.channels() == 1 ? 1 : o.v;
  if (p.channels() == 4) {  // black is sampled like luma
    info.comp_info[3].h_samp_factor = o.h;
    info.comp_info[3].v_samp_factor = o.v;
  }
  info.restart_in_rows = o.restart_rows;
  info.restart_interval = static_cast<unsigned>(o.restart_units);
  std::vector<jpeg_scan_info> script;
  if (o.coarse_only || o.repeat_scans > 0) {
    script = scan_script(info.num_components, o);
    info.scan_info = script.data();
    info.num_scans = static_cast<int>(script.size());
  } else if (o.progressive) {
    jpeg_simple_progression(&info);
  }
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < p.height(); ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(p.row(y));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return file;
}

std::string encode_png_as(const Picture& p, const PngOptions& o) {
  std::string file;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &file,
      [](png_structp w, png_bytep data, size_t n) {
        static_cast<std::string*>(png_get_io_ptr(w))->append(reinterpret_cast<const char*>(data), n);
      },
      nullptr);
  static constexpr int kTypes[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                   PNG_COLOR_TYPE_RGB_ALPHA};
  png_set_IHDR(png, info, static_cast<png_uint_32>(p.width()), static_cast<png_uint_32>(p.height()), o.bits,
               kTypes[p.channels()], o.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const size_t sample = static_cast<size_t>(o.bits / 8), n = p.size() / static_cast<size_t>(p.height());
  std::vector<uint8_t> pixels(p.size() * sample, 0xc7);
  for (size_t i = 0; i < p.size(); ++i) pixels[i * sample] = p.data()[i];
  std::vector<png_bytep> rows;
  for (int y = 0; y < p.height(); ++y) rows.push_back(pixels.data() + static_cast<size_t>(y) * n * sample);
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return file;
}

std::vector<uint8_t> bytes_of(const Picture& p) { return {p.data(), p.data() + p.size()}; }
std::vector<uint8_t> bytes_of(const Tensor& t) { return {t.data<uint8_t>(), t.data<uint8_t>() + t.numel()}; }

Picture picture_of(const Tensor& t) {
  Picture p(static_cast<int>(t.dim(0)), static_cast<int>(t.dim(1)), static_cast<int>(t.dim(2)));
  std::memcpy(p.data(), t.data<uint8_t>(), p.size());
  return p;
}

std::vector<uint8_t> cut(const Picture& p, Box box) {
  std::vector<uint8_t> out;
  for (int y = box.top; y < box.bottom(); ++y) {
    for (int i = box.left * p.channels(); i < box.right() * p.channels(); ++i) out.push_back(p.row(y)[i]);
  }
  return out;
}

Picture decode(const std::string& file, int channels, const ChooseBox& choose, const DecodeLimits& limits) {
  Picture out;
  decode_picture({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "dir/x.pic", channels, choose,
                 out, limits);
  return out;
}

std::string complaint(ErrorKind kind, const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.kind() == kind ? e.what()
                            : "kind " + std::to_string(static_cast<int>(e.kind())) + ": " + e.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string golden(const std::string& name) {
  return std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + name;
}

}  // namespace tessera::test
