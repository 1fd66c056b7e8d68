// Encoders as feature extractors, what kNN and the probe are given, and the pictures of visualize.
#include "recipes/trainer/evaluation.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "autograd/tape.h"
#include "data/mask.h"
#include "engine/log.h"
#include "ops/normalize_images/normalize_images.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/picture.h"
#include "recipes/trainer/trainer.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

MaeSettings small() {
  MaeSettings s;
  s.model.patch = 4;
  s.model.dim = 12;
  s.model.depth = 1;
  s.model.heads = 3;
  s.model.decoder_dim = 8;
  s.model.decoder_depth = 1;
  s.model.decoder_heads = 2;
  s.data.train = "synthetic:40,12x16x3";
  s.data.height = 12;
  s.data.width = 16;
  s.optim.warmup_epochs = 0;
  s.train.epochs = 1;
  s.train.batch = 8;
  return s;
}

// A run of five steps, gone at the end of the test.
struct ShortRun {
  fs::path path;
  ShortRun() {
    std::string name = (fs::temp_directory_path() / "tessera-evaluation-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
    log::set_level(log::Level::error);
    const MaeSettings s = small();
    Invocation call;
    call.out = out();
    MaePretrain recipe(s);
    train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call);
  }
  ~ShortRun() {
    fs::remove_all(path);
    log::set_level(log::Level::info);
  }
  std::string out() const { return (path / "run").string(); }
};

EvaluationSettings settings(const std::string& encoder) {
  EvaluationSettings s;
  s.encoder = encoder;
  s.data.train = "synthetic:40,12x16x3";
  s.data.test = "synthetic:20,12x16x3";
  s.data.batch = 7;  // 40 and 20 are no multiples: the last batch is short
  return s;
}

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double d = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    d = std::max(
        d, std::fabs(static_cast<double>(a.data<float>()[i]) - static_cast<double>(b.data<float>()[i])));
  }
  return d;
}

}  // namespace

TEST_CASE("recipes/evaluation: features of a run, of its shape with fresh weights, and of its pixels") {
  const ShortRun run;
  const FeatureSet trained = Evaluation(settings(run.out())).features("synthetic:40,12x16x3");
  const FeatureSet random = Evaluation(settings("random:" + run.out())).features("synthetic:40,12x16x3");
  const FeatureSet raw = Evaluation(settings("raw:" + run.out())).features("synthetic:40,12x16x3");
  CHECK(trained.features.shape() == Shape{40, 12});
  CHECK(raw.features.shape() == Shape{40, 3 * 12 * 16});
  CHECK(trained.labels.size() == 40);
  CHECK(difference(trained.features, random.features) > 1e-3);

  // Against the encoder by hand, whole pictures in another batching.
  const Encoder encoder(run.out(), Precision::f32(), 0);
  const std::shared_ptr<const Dataset> data = open_dataset("synthetic:40,12x16x3");
  LoaderOptions options;
  options.sampler.batch = 40;
  options.sampler.shuffle = false;
  options.transform.kind = TransformKind::plain;
  options.transform.height = 12;
  options.transform.width = 16;
  Loader loader(data, options);
  const CheckpointInfo& info = encoder.info();
  const Tensor images = normalize_images(loader.next().pixels, {info.mean.begin(), info.mean.end()},
                                         {info.std.begin(), info.std.end()});
  CHECK(difference(encoder.features(images, Pool::mean), trained.features) < 1e-5);
  CHECK(difference(images.reshape({40, 3 * 12 * 16}), raw.features) == 0);
  EvaluationSettings token = settings(run.out());
  token.features = "class_token";
  CHECK(difference(Evaluation(token).features("synthetic:40,12x16x3").features, trained.features) > 1e-3);
}

TEST_CASE("recipes/evaluation: augmented batches differ between epochs and cover the source") {
  const ShortRun run;
  const Evaluation evaluation(settings(run.out()));
  const std::unique_ptr<Loader> loader = evaluation.augmented("synthetic:40,12x16x3", 20);
  const Batch a = loader->next(), b = loader->next(), again = loader->next();
  std::vector<int64_t> seen = a.indices;
  seen.insert(seen.end(), b.indices.begin(), b.indices.end());
  std::sort(seen.begin(), seen.end());
  for (int64_t i = 0; i < 40; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
  CHECK(again.epoch == 1);
  CHECK(evaluation.features(a).shape() == Shape{20, 12});
}

TEST_CASE("recipes/evaluation: settings that do not fit are refused with a reason") {
  const ShortRun run;
  const auto refused = [&](auto change, const char* why) {
    EvaluationSettings s = settings(run.out());
    change(s);
    CHECK_THROWS_WITH_AS(Evaluation{s}, doctest::Contains(why), Error);
  };
  refused([](EvaluationSettings& s) { s.encoder = ""; }, "encoder is not set");
  refused([](EvaluationSettings& s) { s.encoder = "/nowhere/run"; }, "/nowhere/run");
  refused([](EvaluationSettings& s) { s.data.test = ""; }, "data.test");
  refused([](EvaluationSettings& s) { s.data.height = 16; }, "was trained on 12x16x3");
  refused([](EvaluationSettings& s) { s.data.mean = {0.5}; }, "1 values for 3 channels");
  refused([](EvaluationSettings& s) { s.encoder = "raw"; }, "data.height is not set");
  CHECK_THROWS_WITH_AS(Evaluation(settings(run.out())).features("flat:/nowhere"),
                       doctest::Contains("/nowhere"), Error);
}

// With predictions replaced by the truth, un-normalised by the truth's statistics, a paste is the original.
TEST_CASE("recipes/mae: a reconstruction shows original, masked, prediction and paste") {
  const MaeSettings s = small();
  ParamStore store;
  const Mae mae(Scope(store), s.network());
  store.freeze(0);
  const Tensor images({2, 3, 12, 16}, DType::f32);
  for (int64_t i = 0; i < images.numel(); ++i)
    images.data<float>()[i] = std::sin(0.37f * static_cast<float>(i));
  const std::vector<float> mean = {0.5f, 0.5f, 0.5f}, std = {0.25f, 0.25f, 0.25f};
  const Masking masking = mask_by_noise(random_noise(0, 0, 0, 2, 12), mae.kept());
  const Picture p = reconstruction(mae, images, masking, mean, std, 1);
  REQUIRE(p.height() == 2 * 12 + 2);
  REQUIRE(p.width() == 4 * 16 + 3 * 2);
  const auto at = [&](int column, int y, int x) { return p.row(y)[(column * 18 + x) * 3]; };
  int grey = 0;
  for (int n = 0; n < 12; ++n) {
    const bool hidden = masking.restore.data<int32_t>()[n] >= mae.kept();
    grey += hidden;
    const int y = n / 4 * 4 + 1, x = n % 4 * 4 + 2;
    CHECK(at(1, y, x) == (hidden ? 128 : at(0, y, x)));
    CHECK(at(3, y, x) == (hidden ? at(2, y, x) : at(0, y, x)));
  }
  CHECK(grey == 9);
  CHECK(p.row(12)[0] == 255);  // the gap between rows
}

TEST_CASE("recipes/picture: tiles are enlarged and must be of one size") {
  // Pictures move and are not copied, so rows are built by hand.
  const auto picture = [](int height, uint8_t first) {
    Picture p(height, 2, 1);
    for (size_t i = 0; i < p.size(); ++i) p.data()[i] = static_cast<uint8_t>(first + 10 * i);
    return p;
  };
  const auto rows = [&](int second_height) {
    std::vector<std::vector<Picture>> r(1);
    r[0].push_back(picture(1, 10));
    r[0].push_back(picture(second_height, 30));
    return r;
  };
  const Picture t = tile(rows(1), 1, 2);
  REQUIRE(t.height() == 2);
  REQUIRE(t.width() == 9);
  const uint8_t row[9] = {10, 10, 20, 20, 255, 30, 30, 40, 40};
  for (int y = 0; y < 2; ++y) CHECK(std::equal(row, row + 9, t.row(y)));
  CHECK_THROWS_AS(tile(rows(2), 1, 1), Error);
}

}  // namespace tessera
