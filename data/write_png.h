// Pictures to PNG files and bytes (libpng).
#pragma once

#include <string>

#include "data/picture.h"

namespace tessera {

// The bytes of a PNG file: picture [H, W, C] u8, C = 1 (grey), 3 (RGB) or 4 (RGBA). Throws Error(internal) on
// other sizes.
std::string encode_png(const Picture& picture);

// The same to a file, replacing it. Throws Error(io) naming the path and the reason.
void write_png(const std::string& path, const Picture& picture);

}  // namespace tessera
