// Picture: 8-bit pixels in host memory, row-major, channel fastest (HWC); what decoding and augmentation work
// on before there is a tensor. Buffers keep their memory, so a worker that goes from picture to picture
// touches no fresh page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace tessera {

// A rectangle of pixels.
struct Box {
  int top = 0, left = 0, height = 0, width = 0;
  bool operator==(const Box&) const = default;
  int bottom() const { return top + height; }
  int right() const { return left + width; }
};

// Picks the part of a picture that is wanted once its full size is known (from the header, before pixels are
// decoded). The box must be non-empty and lie inside the picture.
using ChooseBox = std::function<Box(int height, int width)>;

inline Box whole_picture(int height, int width) { return {0, 0, height, width}; }

// Bytes that are not cleared and not given back: resize() keeps the memory it has (but not an unusually large
// one).
class Bytes {
 public:
  // Readable and writable bytes past the end, so that vector kernels need no special last element.
  static constexpr size_t kSlack = 64;

  // Makes room for n bytes; old contents are lost.
  uint8_t* resize(size_t n);
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t size_ = 0, capacity_ = 0;
};

class Picture {
 public:
  Picture() = default;
  Picture(int height, int width, int channels) { reset(height, width, channels); }

  // Takes a new size; contents are undefined afterwards. Throws unless sizes are >= 0 and channels is 1..4.
  void reset(int height, int width, int channels);

  int height() const { return height_; }
  int width() const { return width_; }
  int channels() const { return channels_; }
  size_t size() const { return bytes_.size(); }  // height * width * channels
  uint8_t* data() { return bytes_.data(); }
  const uint8_t* data() const { return bytes_.data(); }
  uint8_t* row(int y) { return bytes_.data() + offset(y); }
  const uint8_t* row(int y) const { return bytes_.data() + offset(y); }

 private:
  size_t offset(int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) * static_cast<size_t>(channels_);
  }

  int height_ = 0, width_ = 0, channels_ = 0;
  Bytes bytes_;
};

// True if `box` is non-empty and lies inside a picture of height x width.
inline bool is_inside(const Box& box, int height, int width) {
  return box.top >= 0 && box.left >= 0 && box.height >= 1 && box.width >= 1 &&
         box.height <= height - box.top && box.width <= width - box.left;
}

// One row of n pixels from one channel count to another: 1 -> 3 replicates, 3 -> 1 is Pillow's luma (19595 R
// + 38470 G + 7471 B + 32768) >> 16, equal counts copy, 4 -> 3 and 4 -> 1 drop the fourth channel first (as
// Pillow drops alpha). Anything else throws Error(internal): use can_convert() first. `to` and `from` may not
// overlap.
void convert_channels(uint8_t* to, int to_channels, const uint8_t* from, int from_channels, int64_t n);
bool can_convert(int from_channels, int to_channels);

}  // namespace tessera
