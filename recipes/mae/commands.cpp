// What mae pretrain and mae visualize do with their settings.
#include "recipes/mae/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "data/mask.h"
#include "data/write_png.h"
#include "engine/check.h"
#include "ops/normalize_images/normalize_images.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/trainer.h"

namespace tessera {
namespace {

int pretrain(MaeSettings& s, const ConfigSources&, const Invocation& call) {
  apply_threads(s.train.threads);
  MaePretrain recipe(s);
  return train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call);
}

struct VisualizeSettings {
  std::string images;
  int64_t count = 8, seed = 0;
  int threads = 0;

  template <class V> void fields(V& v) {
    v("images", images, "pictures to reconstruct, as data.train; empty = the run's own");
    v("count", count, Range{1, 64}, "how many");
    v("seed", seed, Range::at_least(0), "of the choice of pictures and of the masks");
    v("threads", threads, Range{0, 1024}, "0 = OMP_NUM_THREADS or all cores");
  }
};

// The recipe that a checkpoint was trained with, and its settings. What its configuration says that this
// build does not know is the checkpoint's fault, not the user's.
std::unique_ptr<MaePretrain> rebuild(const Weights& weights, MaeSettings& s) {
  try {
    ConfigSources sources;
    read_config_text(fields_of(s), weights.info.config, weights.path + " (its configuration)", sources);
    auto recipe = std::make_unique<MaePretrain>(s);
    load_parameters(recipe->params(), weights);
    return recipe;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::config) throw;
    fail(ErrorKind::checkpoint, "{}; another version of Tessera wrote it, or it is damaged", e.what());
  }
}

// The configuration a checkpoint was trained with rebuilds its model; pictures are whole, never cropped.
int visualize(VisualizeSettings& v, const ConfigSources&, const Invocation& call) {
  apply_threads(v.threads);
  if (call.input.empty()) fail(ErrorKind::config, "which checkpoint? mae visualize RUN --out FILE.png");
  if (!call.out.ends_with(".png")) fail(ErrorKind::config, "--out must name a .png file");
  const Weights weights = load_weights(call.input);
  if (weights.info.recipe != "mae" || weights.info.parts != "encoder+decoder") {
    fail(ErrorKind::checkpoint, "{} holds {} {}; a reconstruction needs an MAE with its decoder",
         weights.path, weights.info.recipe.empty() ? "a foreign model" : weights.info.recipe,
         weights.info.parts);
  }
  MaeSettings s;
  const std::unique_ptr<MaePretrain> rebuilt = rebuild(weights, s);
  MaePretrain& recipe = *rebuilt;

  LoaderOptions options;
  options.sampler.batch = v.count;
  options.sampler.seed = static_cast<uint64_t>(v.seed);
  options.transform = s.data.transform_options();
  if (options.transform.kind == TransformKind::train) {
    options.transform.kind = TransformKind::eval;
    options.transform.shorter = std::min(s.data.height, s.data.width);
  }
  options.workers = 0;
  Loader loader(open_dataset(v.images.empty() ? s.data.train : v.images), options);
  const std::optional<Picture> picture = recipe.picture(loader.next(),
                                                        {0, 0, static_cast<uint64_t>(v.seed), 0}, v.count);
  write_png(call.out, *picture);
  print_to_stdout(fmt::format("{}: original, masked, prediction, paste ({}, step {}, target {})\n", call.out,
                              weights.info.model, weights.info.step, weights.info.target));
  return 0;
}

}  // namespace

std::vector<Command> mae_commands() {
  return {command<MaeSettings>("pretrain", "Pre-train on pictures; labels are not used", pretrain),
          command<VisualizeSettings>("visualize", "Write a PNG of original, masked, prediction and paste",
                                     visualize, Takes::input)};
}

}  // namespace tessera
