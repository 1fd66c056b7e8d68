#include "data/transform.h"

#include <cstring>

#include "engine/check.h"

namespace tessera {
namespace {

// Copies `part` to (top, left) of the result, mirrored or not; what is around it becomes zero.
void put(const Picture& part, int top, int left, bool mirrored, const TransformOptions& o, uint8_t* to) {
  const int c = o.channels;
  const size_t row = static_cast<size_t>(o.width) * static_cast<size_t>(c);
  if (part.height() != o.height || part.width() != o.width)
    std::memset(to, 0, row * static_cast<size_t>(o.height));
  for (int y = 0; y < part.height(); ++y) {
    uint8_t* at = to + static_cast<size_t>(top + y) * row + static_cast<ptrdiff_t>(left) * c;
    if (mirrored) {
      flip_row(at, part.row(y), part.width(), c);
    } else {
      std::memcpy(at, part.row(y), static_cast<size_t>(part.width()) * static_cast<size_t>(c));
    }
  }
}

// Where the zeros of `plain` with `pad` begin.
int padding(const Dataset& data, int64_t index, int side, int wanted) {
  if (side > wanted) {
    fail(ErrorKind::data, "picture {}: a side of {} cannot be padded to {}; use a larger size, or resize",
         data.describe(index), side, wanted);
  }
  return (wanted - side) / 2;
}

}  // namespace

void check_transform_options(const TransformOptions& o) {
  constexpr int kMost = 65'500;
  if (o.height < 1 || o.width < 1 || o.height > kMost || o.width > kMost) {
    fail(ErrorKind::config, "pictures of {} x {}: sides are 1 to {}", o.height, o.width, kMost);
  }
  if (o.channels != 1 && o.channels != 3 && o.channels != 4) {
    fail(ErrorKind::config, "pictures of {} channels: there are 1 (grey), 3 (RGB) and 4 (RGBA)", o.channels);
  }
  if (!(o.flip >= 0 && o.flip <= 1)) fail(ErrorKind::config, "flip probability {}: wanted 0 to 1", o.flip);
  if (o.shorter < 1 || o.shorter > kMost)
    fail(ErrorKind::config, "shorter side {}: wanted 1 to {}", o.shorter, kMost);
  check_crop_options(o.crop);
}

void transform(const Dataset& data, int64_t index, const TransformOptions& o, uint64_t seed, int64_t epoch,
               uint8_t* to) {
  thread_local Picture loaded, resized;
  const uint64_t e = static_cast<uint64_t>(epoch), i = static_cast<uint64_t>(index);
  const Size wanted = {o.height, o.width};

  if (o.kind == TransformKind::train || o.kind == TransformKind::probe) {
    const Philox random(seed, Purpose::crop, e, i);
    data.load(
        index, o.channels,
        [&](int h, int w) {
          return o.kind == TransformKind::train ? random_resized_crop(h, w, o.crop, random)
                                                : single_draw_crop(h, w, o.crop, random);
        },
        loaded);
    resize(loaded, wanted, o.filter, resized);
    put(resized, 0, 0, draw_flip(o.flip, Philox(seed, Purpose::flip, e, i)), o, to);
    return;
  }
  if (o.kind == TransformKind::eval) {
    CentreCrop centre;
    Size full;
    Box have;
    data.load(
        index, o.channels,
        [&](int h, int w) {
          full = {h, w};
          centre = centre_crop(full, o.shorter, wanted);
          return have = resize_footprint(full, centre.resized, centre.kept, o.filter);
        },
        loaded);
    resize_part(loaded, have, full, centre.resized, centre.kept, o.filter, resized);
    put(resized, centre.pad_top, centre.pad_left, false, o, to);
    return;
  }
  data.load(index, o.channels, whole_picture, loaded);
  if (o.pad) {
    put(loaded, padding(data, index, loaded.height(), o.height),
        padding(data, index, loaded.width(), o.width), false, o, to);
  } else {
    resize(loaded, wanted, o.filter, resized);
    put(resized, 0, 0, false, o, to);
  }
}

}  // namespace tessera
