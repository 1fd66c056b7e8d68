// Parity of picture operations (fixtures img_resize, img_eval): crop, antialiased resize, mirror, centre
// crop, normalisation.
#include <algorithm>
#include <cstring>

#include "data/augment.h"
#include "data/resize.h"
#include "engine/check.h"
#include "ops/normalize_images/normalize_images.h"
#include "recipes/parity/key.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

Box box_of(const std::string& part) {  // crop3_5_30_41: top, left, height, width
  const std::vector<int64_t> n = numbers_after(part, "crop", "_");
  if (n.size() != 4) throw UnknownOption("parity: " + part + " is no box");
  const auto side = [&](size_t i) { return static_cast<int>(n[i]); };
  return {side(0), side(1), side(2), side(3)};
}

Size size_of_part(const std::string& part, const std::string& prefix) {  // to16x16, crop28
  const std::vector<int64_t> n = numbers_after(part, prefix);
  if (n.size() > 2) throw UnknownOption("parity: " + part + " is no size");
  return {static_cast<int>(n.front()), static_cast<int>(n.back())};
}

// The part `box` of u8 [H, W, C].
Picture cut(const Tensor& image, Box box) {
  const auto width = static_cast<int>(image.dim(1)), channels = static_cast<int>(image.dim(2));
  if (!is_inside(box, static_cast<int>(image.dim(0)), width))
    fail(ErrorKind::checkpoint, "parity: a box lies outside its picture {}", image.shape().str());
  Picture out(box.height, box.width, channels);
  const auto bytes = static_cast<size_t>(box.width * channels);
  for (int y = 0; y < box.height; ++y) {
    std::memcpy(out.row(y), image.data<uint8_t>() + ((box.top + y) * width + box.left) * channels, bytes);
  }
  return out;
}

Tensor tensor_of(const Picture& picture) {
  const Tensor t({picture.height(), picture.width(), picture.channels()}, DType::u8);
  std::memcpy(t.raw(), picture.data(), picture.size());
  return t;
}

Picture whole(const Tensor& image) {
  return cut(image, {0, 0, static_cast<int>(image.dim(0)), static_cast<int>(image.dim(1))});
}

Tensor input(ParityFile& file, const std::string& name) {
  const Tensor image = file.read("input.img." + name);
  if (image.rank() != 3 || image.dtype() != DType::u8)
    fail(ErrorKind::checkpoint, "parity: input.img.{} is {}, wanted u8 [H, W, C]", name, image.shape().str());
  return image;
}

// resize.<image>.crop<box>.to<size>.<filter>
Tensor cropped_and_resized(ParityFile& file, const std::vector<std::string>& part) {
  if (part[4] != "bicubic" && part[4] != "bilinear")
    throw UnknownOption("parity: filter " + part[4] + " is not known");
  Picture out;
  resize(cut(input(file, part[1]), box_of(part[2])), size_of_part(part[3], "to"),
         part[4] == "bicubic" ? Filter::bicubic : Filter::bilinear, out);
  return tensor_of(out);
}

Tensor mirrored(const Tensor& image) {
  const Picture in = whole(image);
  Picture out(in.height(), in.width(), in.channels());
  for (int y = 0; y < in.height(); ++y) flip_row(out.row(y), in.row(y), in.width(), in.channels());
  return tensor_of(out);
}

void run_resize(ParityFile& file) {
  for (const std::string& name : file.names("out.")) {
    const std::vector<std::string> part = split(name, ".");
    if (part[0] == "resize" && part.size() == 5) {
      file.exact("out." + name, cropped_and_resized(file, part));
    } else if (part[0] == "hflip" && part.size() == 2) {
      file.exact("out." + name, mirrored(input(file, part[1])));
    } else {
      throw UnknownOption("parity: out." + name + " is not known");
    }
  }
}

// Shorter side to `shorter`, then the centre, as the loader does it: only what the centre needs.
Tensor centre(const Tensor& image, int shorter, Size crop) {
  const Size from = {static_cast<int>(image.dim(0)), static_cast<int>(image.dim(1))};
  const auto channels = static_cast<int>(image.dim(2));
  const CentreCrop c = centre_crop(from, shorter, crop);
  const Box have = resize_footprint(from, c.resized, c.kept, Filter::bicubic);
  Picture kept, out(crop.height, crop.width, channels);
  resize_part(cut(image, have), have, from, c.resized, c.kept, Filter::bicubic, kept);
  std::fill_n(out.data(), out.size(), uint8_t{0});
  for (int y = 0; y < kept.height(); ++y) {
    std::memcpy(out.row(c.pad_top + y) + c.pad_left * channels, kept.row(y),
                static_cast<size_t>(kept.width() * channels));
  }
  return tensor_of(out);
}

std::vector<float> floats(const std::vector<double>& v) { return {v.begin(), v.end()}; }

// eval.<image>.resize<side>.crop<size>, eval_norm.<the same>, norm.<image>
void run_eval(ParityFile& file) {
  const std::vector<float> mean = floats(file.config().numbers("mean")),
                           std = floats(file.config().numbers("std"));
  for (const std::string& name : file.names("out.")) {
    const std::vector<std::string> part = split(name, ".");
    Tensor image = part.size() > 1 ? input(file, part[1]) : Tensor();
    if ((part[0] == "eval" || part[0] == "eval_norm") && part.size() == 4) {
      image = centre(image, static_cast<int>(number_after(part[2], "resize")), size_of_part(part[3], "crop"));
    } else if (part[0] != "norm" || part.size() != 2) {
      throw UnknownOption("parity: out." + name + " is not known");
    }
    if (part[0] == "eval") {
      file.exact("out." + name, image);
    } else {
      const Tensor batch = image.reshape({1, image.dim(0), image.dim(1), image.dim(2)});
      file.within("out." + name, normalize_images(batch, mean, std), 1e-6, 0);
    }
  }
}

const RegisterParity resizing({"img_resize", [](const Options& o) { return o.text("case") == "img_resize"; },
                               run_resize});
const RegisterParity evaluation({"img_eval", [](const Options& o) { return o.text("case") == "img_eval"; },
                                 run_eval});

}  // namespace
}  // namespace tessera
