// Random crops and flips of training pictures: pure functions of the picture's size and an address (seed,
// epoch, index).
#pragma once

#include "data/picture.h"
#include "engine/random.h"

namespace tessera {

struct CropOptions {
  double scale_min = 0.2, scale_max = 1.0;              // part of the picture's area
  double ratio_min = 3.0 / 4.0, ratio_max = 4.0 / 3.0;  // width / height; drawn log-uniformly
};

// Throws Error(config) naming the option unless 0 < scale_min <= scale_max <= 1 and 0 < ratio_min <=
// ratio_max.
void check_crop_options(const CropOptions& options);

// Pre-training's crop (spec evaluation.md 7.1 (a), torchvision): up to ten draws until one fits, then the
// largest centred crop of an allowed ratio. Try t uses elements 4t .. 4t+3 (area, ratio, top, left) of
// `random`; area and ratio are drawn in float32.
Box random_resized_crop(int height, int width, const CropOptions& options, const Philox& random);

// Linear probing's crop (spec evaluation.md 7.1 (c)): one draw, its sides cut to the picture's.
Box single_draw_crop(int height, int width, const CropOptions& options, const Philox& random);

// True with the given probability: element 0 of `random`.
bool draw_flip(double probability, const Philox& random);

// Mirrors a row of pixels: to[x] = from[width - 1 - x]. `to` and `from` may not overlap.
void flip_row(uint8_t* to, const uint8_t* from, int width, int channels);

}  // namespace tessera
