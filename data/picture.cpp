#include "data/picture.h"

#include <cstring>

#include "engine/check.h"

namespace tessera {

uint8_t* Bytes::resize(size_t n) {
  // One giant picture should not hold its memory for the rest of a run.
  constexpr size_t kKeep = size_t{64} << 20;
  if (n > capacity_ || (capacity_ > kKeep && n < capacity_ / 4)) {
    data_.reset();
    capacity_ = 0;
    const size_t capacity = n + n / 4;
    data_ = std::make_unique_for_overwrite<uint8_t[]>(capacity + kSlack);
    capacity_ = capacity;
  }
  size_ = n;
  return data_.get();
}

void Picture::reset(int height, int width, int channels) {
  TS_CHECK(height >= 0 && width >= 0 && channels >= 1 && channels <= 4,
           "picture: {} x {} with {} channels; sizes are >= 0 and channels 1 to 4", height, width, channels);
  height_ = height;
  width_ = width;
  channels_ = channels;
  bytes_.resize(static_cast<size_t>(height) * static_cast<size_t>(width) * static_cast<size_t>(channels));
}

bool can_convert(int from_channels, int to_channels) {
  if (from_channels == to_channels) return from_channels == 1 || from_channels == 3 || from_channels == 4;
  if (from_channels == 1) return to_channels == 3;
  if (from_channels == 3) return to_channels == 1;
  return from_channels == 4 && (to_channels == 1 || to_channels == 3);
}

void convert_channels(uint8_t* to, int to_channels, const uint8_t* from, int from_channels, int64_t n) {
  TS_CHECK(can_convert(from_channels, to_channels), "picture: {} channels cannot become {}", from_channels,
           to_channels);
  if (from_channels == to_channels) {
    std::memcpy(to, from, static_cast<size_t>(n * to_channels));
    return;
  }
  const int stride = from_channels;
  for (int64_t i = 0; i < n; ++i, from += stride, to += to_channels) {
    if (stride == 1) {
      to[0] = to[1] = to[2] = from[0];
    } else if (to_channels == 3) {
      for (int c = 0; c < 3; ++c) to[c] = from[c];
    } else {
      to[0] = static_cast<uint8_t>((19595u * from[0] + 38470u * from[1] + 7471u * from[2] + 32768u) >> 16);
    }
  }
}

}  // namespace tessera
