// Antialiased resizing of 8-bit pictures, equal to Pillow's bit for bit (spec evaluation.md 7.3): separable,
// horizontal pass first, weights of 22 fractional bits, 8 bits between the passes, a pass whose size does not
// change skipped. (Pillow 13 takes the cheaper pass first, so it differs from Pillow 9 to 12, and from this,
// by a level or two on tall pictures.) Channels are independent: four of them are resized as Pillow's CMYK,
// not premultiplied as its RGBA.
#pragma once

#include "data/picture.h"

namespace tessera {

enum class Filter {
  bilinear,  // triangle, support 1
  bicubic,   // Keys, a = -0.5, support 2
};

struct Size {
  int height = 0, width = 0;
  bool operator==(const Size&) const = default;
};

// Pixels of a `from`-sized picture that decide the pixels `keep` of its `to`-sized version.
Box resize_footprint(Size from, Size to, Box keep, Filter filter);

// The pixels `keep` of the `to`-sized version of a picture of size `from`, of which `source` holds the part
// `have`; that must cover resize_footprint(from, to, keep, filter). So one picture's centre can be resized
// without decoding its border. source [have.height, have.width, C], C 1..4 -> out [keep.height, keep.width,
// C]. Throws Error(internal) on sizes that do not fit.
void resize_part(const Picture& source, Box have, Size from, Size to, Box keep, Filter filter, Picture& out);

// The whole picture: in [h, w, C] -> out [to.height, to.width, C].
void resize(const Picture& in, Size to, Filter filter, Picture& out);

// Where centre_crop of evaluation.md 7.2 lies: shorter side to `shorter` (longer: trunc(shorter * long /
// short), as torchvision), then the centre `crop`, its offset rounded half to even. A side that stays below
// the crop is zero-padded: `kept` is what the resized picture gives, and it lies at (`pad_top`, `pad_left`)
// of the crop.
struct CentreCrop {
  Size resized;
  Box kept;
  int pad_top = 0, pad_left = 0;
};
CentreCrop centre_crop(Size from, int shorter, Size crop);

}  // namespace tessera
