// Photo-like pictures: discs of all sizes that hide one another (the statistics of edges and flat parts in
// photos), shaded, with a camera's noise; written as JPEG.
#include "bench/photos.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
// jpeglib.h needs FILE.
#include <jpeglib.h>

#include "data/picture.h"
#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/random.h"

namespace tessera::bench {
namespace {

constexpr int kSmall = 24, kLarge = 4;  // pictures of a set

struct Disc {
  float y, x, radius;
  float colour[3], slope[3];  // of the shading, per radius
};

// Radii follow r^-3 (photos look alike at every scale) from `least` to a third of the height.
std::vector<Disc> draw_discs(int height, int width, float least, const Philox& random) {
  constexpr uint64_t kDiscs = 500, kNumbers = 16;
  std::vector<Disc> discs(kDiscs);
  const float most = static_cast<float>(height) / 3;
  for (uint64_t i = 0; i < kDiscs; ++i) {
    const auto u = [&](uint64_t j) { return random.uniform(kNumbers * i + j); };
    Disc& d = discs[i];
    const float a = 1 / (least * least), b = 1 / (most * most);
    d.radius = 1 / std::sqrt(a + u(0) * (b - a));
    d.y = u(1) * static_cast<float>(height);
    d.x = u(2) * static_cast<float>(width);
    const float grey = 30 + 190 * u(3);
    for (uint64_t c = 0; c < 3; ++c) {
      d.colour[c] = grey + 60 * (u(4 + c) - 0.5f);
      d.slope[c] = 50 * (u(7 + c) - 0.5f);
    }
  }
  // The smallest lie on top, or the large ones would hide them all.
  std::stable_sort(discs.begin(), discs.end(), [](auto& p, auto& q) { return p.radius > q.radius; });
  return discs;
}

void paint_row(const std::vector<Disc>& discs, int y, int width, std::vector<float>& row) {
  std::fill(row.begin(), row.end(), 110.0f);
  for (const Disc& d : discs) {
    const float dy = static_cast<float>(y) - d.y, half2 = d.radius * d.radius - dy * dy;
    if (half2 <= 0) continue;
    const float half = std::sqrt(half2);
    const int begin = std::max(0, static_cast<int>(std::ceil(d.x - half)));
    const int end = std::min(width, static_cast<int>(std::floor(d.x + half)) + 1);
    for (int x = begin; x < end; ++x) {
      const float across = (static_cast<float>(x) - d.x + dy) / d.radius;
      for (int c = 0; c < 3; ++c) row[static_cast<size_t>(3 * x + c)] = d.colour[c] + d.slope[c] * across;
    }
  }
}

// `noise`: standard deviation of the grain, which neighbours share in part as after demosaicing.
Picture make_photo(int height, int width, float noise, uint64_t seed) {
  Picture p(height, width, 3);
  const std::vector<Disc> discs = draw_discs(height, width, static_cast<float>(width) / 50,
                                             Philox(seed, Purpose::synthetic, 1, 0));
  parallel_for(height, 16, [&](int64_t first, int64_t last) {
    std::vector<float> row(static_cast<size_t>(3 * width));
    for (int64_t y = first; y < last; ++y) {
      paint_row(discs, static_cast<int>(y), width, row);
      const Philox random(seed, Purpose::synthetic, 2, static_cast<uint64_t>(y));
      float before = 0;
      for (int x = 0; x < width; ++x) {
        const uint32_t bits = random.bits(static_cast<uint64_t>(x));
        float grain = -2.0f;  // of four uniform numbers: variance 1/3
        for (int k = 0; k < 4; ++k) grain += static_cast<float>(bits >> 8 * k & 255) / 255;
        grain = 0.5f * before + 0.866f * grain;
        before = grain;
        for (int c = 0; c < 3; ++c) {
          const float value = row[static_cast<size_t>(3 * x + c)] + 1.732f * noise * grain;
          p.row(static_cast<int>(y))[3 * x + c] = static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f));
        }
      }
    }
  });
  return p;
}

// Quality 90, colour at half resolution: what cameras and ImageNet use.
void write_jpeg(const Picture& p, bool progressive, const std::string& path) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(p.width());
  info.image_height = static_cast<JDIMENSION>(p.height());
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < p.height(); ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(p.row(y));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  file.close();
  std::free(bytes);
  if (!file) fail(ErrorKind::data, "{}: cannot be written; check the space and the permissions", path);
}

}  // namespace

std::vector<PhotoSet> write_photo_sets(const std::string& dir) {
  std::vector<PhotoSet> sets;
  for (const char* name : {"500x375", "12mp_baseline", "12mp_progressive"}) {
    sets.push_back({name, dir + "/" + name});
    std::error_code error;
    std::filesystem::create_directories(sets.back().folder, error);
    if (error) fail(ErrorKind::data, "{}: cannot be made ({})", sets.back().folder, error.message());
  }
  const auto path = [](const PhotoSet& set, int i) { return fmt::format("{}/{:03}.jpg", set.folder, i); };
  for (int i = 0; i < kSmall; ++i) {
    write_jpeg(make_photo(375, 500, 1.0f, static_cast<uint64_t>(i)), false, path(sets[0], i));
  }
  for (int i = 0; i < kLarge; ++i) {
    const Picture photo = make_photo(3000, 4000, 5.0f, static_cast<uint64_t>(kSmall + i));
    write_jpeg(photo, false, path(sets[1], i));
    write_jpeg(photo, true, path(sets[2], i));
  }
  return sets;
}

}  // namespace tessera::bench
