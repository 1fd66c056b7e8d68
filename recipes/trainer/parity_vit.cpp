// The options that the fixtures of every plain ViT share.
#include "engine/check.h"
#include "models/vit.h"
#include "recipes/trainer/parity.h"

namespace tessera {

VitConfig read_vit(const Options& o, const Shape& images) {
  VitConfig c;
  const std::vector<double> size = o.numbers("img_size"), patch = o.numbers("patch_size");
  if (size.empty() || patch.empty()) throw UnknownOption("parity: img_size or patch_size is empty");
  c.image_h = static_cast<int64_t>(size.front());
  c.image_w = static_cast<int64_t>(size.back());
  c.patch_h = static_cast<int64_t>(patch.front());
  c.patch_w = static_cast<int64_t>(patch.back());
  c.dim = o.integer("embed_dim");
  c.depth = o.integer("depth");
  c.heads = static_cast<int>(o.integer("num_heads"));
  c.mlp_ratio = o.number("mlp_ratio");
  c.eps = static_cast<float>(o.number("ln_eps"));
  if (o.has("qkv_bias") && !o.flag("qkv_bias")) throw UnknownOption("parity: qkv_bias = false is not known");
  if (images.rank() != 4 || images[2] != c.image_h || images[3] != c.image_w) {
    fail(ErrorKind::checkpoint, "parity: images are {}, unlike img_size {}x{}", images.str(), c.image_h,
         c.image_w);
  }
  c.channels = images[1];
  o.require("in_chans", static_cast<double>(images[1]));
  o.require("batch", static_cast<double>(images[0]));
  return c;
}

}  // namespace tessera
