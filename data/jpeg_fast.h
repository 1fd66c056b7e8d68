// The common kind of JPEG, baseline YCbCr, decoded faster than libjpeg does and to the same bits: a bit
// reader that takes whole symbols from a table, four blocks of the inverse DCT at a time, and no row of the
// picture beyond those that one row of blocks needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
// jpeglib.h needs FILE.
#include <jpeglib.h>

#include "data/picture.h"

namespace tessera {

// Decodes `box` of the picture whose header `info` has read; `scan` is the file from the scan's first byte
// on. out [box.height, box.width, channels], channels 1 or 3, the pixels that libjpeg gives with its
// defaults (accurate integer DCT, smooth upsampling). False, with `out` undefined, when the file is of
// another kind or its scan is damaged before the box ends: libjpeg then decides. Never reads outside `scan`.
bool decode_jpeg_fast(const jpeg_decompress_struct& info, std::span<const uint8_t> scan, int channels,
                      Box box, Picture& out);

}  // namespace tessera
