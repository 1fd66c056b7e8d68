// The body of the picture targets: decodes an input whole and in part, and holds the two against each other.
#pragma once

#include <algorithm>
#include <cstring>

#include "data/decode.h"
#include "tests/fuzz/fuzz.h"

namespace tessera::fuzz {

// The limits of training would let a picture of 178 megapixels be decoded, as they should; inputs here must
// be done within a second under the sanitizers. Larger ones exercise the refusal.
inline DecodeLimits small_limits() {
  DecodeLimits limits;
  limits.max_pixels = 1 << 19;
  limits.max_side = 4096;
  limits.max_scans = 20;
  limits.max_png_chunk = 4096;
  return limits;
}

inline void decode_whole_and_part(std::span<const uint8_t> file, int channels) {
  static Picture whole, part;
  Box box;
  const auto decode = [&](const ChooseBox& choose, Picture& out) {
    return accepted({ErrorKind::data},
                    [&] { decode_picture(file, "input", channels, choose, out, small_limits()); });
  };
  const bool good = decode(whole_picture, whole);
  const bool good_part = decode(
      [&](int height, int width) {
        const int top = height / 3, left = width / 4;
        box = {top, left, std::max(1, (height - top) / 2), std::max(1, (width - left) / 2)};
        return box;
      },
      part);
  // A defect below the part that is wanted goes unseen; where both are accepted, the pixels are the same.
  require(!good || good_part, "a part is refused of a picture that is accepted whole");
  if (!good || !good_part) return;
  const size_t row = static_cast<size_t>(box.width) * static_cast<size_t>(channels);
  for (int y = 0; y < box.height; ++y) {
    const uint8_t* expected = whole.row(box.top + y) +
                              static_cast<size_t>(box.left) * static_cast<size_t>(channels);
    require(std::memcmp(part.row(y), expected, row) == 0, "a part differs from the same part of the whole");
  }
}

}  // namespace tessera::fuzz
