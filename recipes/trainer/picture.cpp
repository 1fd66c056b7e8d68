#include "recipes/trainer/picture.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/check.h"

namespace tessera {

Picture to_picture(const Tensor& images, int64_t b, const std::vector<float>& mean,
                   const std::vector<float>& std) {
  TS_CHECK(images.rank() == 4 && b >= 0 && b < images.dim(0), "picture {} of {}", b, images.shape().str());
  const int64_t channels = images.dim(1), pixels = images.dim(2) * images.dim(3);
  TS_CHECK(static_cast<int64_t>(mean.size()) == channels, "picture: {} means for {} channels", mean.size(),
           channels);
  Picture p(static_cast<int>(images.dim(2)), static_cast<int>(images.dim(3)), static_cast<int>(channels));
  const float* from = images.data<float>() + b * channels * pixels;
  for (int64_t c = 0; c < channels; ++c) {
    const auto at = static_cast<size_t>(c);
    for (int64_t i = 0; i < pixels; ++i) {
      const float v = (from[c * pixels + i] * std[at] + mean[at]) * 255.0f;
      p.data()[i * channels + c] = static_cast<uint8_t>(std::lround(std::clamp(v, 0.0f, 255.0f)));
    }
  }
  return p;
}

Picture tile(const std::vector<std::vector<Picture>>& rows, int gap, int zoom) {
  TS_CHECK(!rows.empty() && !rows[0].empty(), "picture: nothing to tile");
  const Picture& first = rows[0][0];
  const int h = first.height() * zoom, w = first.width() * zoom, channels = first.channels();
  const int columns = static_cast<int>(rows[0].size());
  Picture out(static_cast<int>(rows.size()) * (h + gap) - gap, columns * (w + gap) - gap, channels);
  std::memset(out.data(), 255, out.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const Picture& p = rows[r][c];
      TS_CHECK(p.height() * zoom == h && p.width() * zoom == w && p.channels() == channels,
               "picture: tiles differ in size");
      for (int y = 0; y < h; ++y) {
        uint8_t* to = out.row(static_cast<int>(r) * (h + gap) + y) +
                      static_cast<int>(c) * (w + gap) * channels;
        const uint8_t* from = p.row(y / zoom);
        for (int x = 0; x < w; ++x)
          std::memcpy(to + x * channels, from + x / zoom * channels, static_cast<size_t>(channels));
      }
    }
  }
  return out;
}

}  // namespace tessera
