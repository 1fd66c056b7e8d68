// From coefficients to pixels, to the bits of libjpeg-turbo's accurate integer DCT, smooth upsampling and
// colour conversion. Only builds with AVX-512 have these.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tessera {

// Inverse DCT of four blocks side by side, [row, block, column] int16, by their quantisation table [64]:
// writes 8 rows of 32 samples, `stride` bytes apart, and clears the coefficients. All aligned to 64 bytes
// but `to`.
void inverse_dct_quad(int16_t* quad, const uint16_t* quant, uint8_t* to, ptrdiff_t stride);

// What one row of pixels is made of.
struct RowOfSamples {
  const uint8_t* luma = nullptr;  // from the first pixel wanted on, readable 64 bytes beyond the last
  // Blueness and redness from the picture's first column on: the row that covers the pixels, and the one
  // next to it that smooth upsampling looks at (v 2). Only columns around those wanted exist.
  std::array<const uint8_t*, 2> near{}, far{};
  int colour_width = 0;  // of the picture
  int h = 1, v = 1;      // pixels of luma per sample of colour; v 2 comes with h 2
};

// Pixels [left, left + width) of the row, to `out` [width, channels], channels 1 or 3.
void samples_to_row(const RowOfSamples& row, int left, int width, int channels, uint8_t* out);

}  // namespace tessera
