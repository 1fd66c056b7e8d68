// Bytes of a JPEG or PNG file to 8-bit pixels: the one place that knows picture formats. Only the part that
// is wanted is decoded, with the same pixels as a whole decode would give. A file is refused, before its
// pixels are decoded, when it is truncated or beyond the limits; whether it is does not depend on the part
// that is wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "data/picture.h"

namespace tessera {

struct DecodeLimits {
  int64_t max_pixels = 178'000'000;
  int max_side = 65'500;
  int max_scans = 100;                       // of a progressive JPEG
  int64_t max_png_chunk = int64_t{8} << 20;  // bytes of one PNG chunk that holds no pixels
  int64_t max_file_bytes = int64_t{1} << 30;
};

// Decodes the box that `choose` picks of the picture in `file`; `name` (a path) is named in errors. out
// [box.height, box.width, channels]. channels 1: luma by Pillow's formula; 3: RGB, grey replicated, CMYK as
// Pillow; 4: RGBA, of a PNG that has transparency. Otherwise alpha is dropped. 16-bit PNG keeps the high
// byte. The orientation tag (EXIF) is not applied: neither does the reference (PIL with torchvision's
// ImageFolder). Throws Error(data) naming the file, the reason and what to do. The format is told from the
// content, not from the name.
void decode_picture(std::span<const uint8_t> file, const std::string& name, int channels,
                    const ChooseBox& choose, Picture& out, const DecodeLimits& limits = {});

// Reads a whole regular file. Throws Error(data) naming the path and the reason if it cannot be read or
// exceeds the limit.
void read_picture_file(const std::string& path, Bytes& out, const DecodeLimits& limits = {});

// Extensions (lower case, with the dot) of files taken for pictures in a folder.
bool has_picture_extension(const std::string& file_name);

}  // namespace tessera
