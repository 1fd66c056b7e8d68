// Parity of the plain ViT as a classifier (fixtures cls_vit_*): soft targets, injected stochastic depth,
// layer-wise rates.
#include "autograd/tape.h"
#include "engine/check.h"
#include "models/vit.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "ops/residual/residual.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

bool serves(const Options& o) {
  return o.text("case") == "classify" && o.has("cls") && o.text("cls") == "VisionTransformer" &&
         o.has("global_pool");
}

VitConfig read_config(const Options& o, const Tensor& images) {
  VitConfig c = read_vit(o, images.shape());
  c.drop_path = o.number("drop_path_rate");
  const std::vector<double> input = o.numbers("input");
  TS_CHECK(input.size() == 4, "parity: input must be [B, C, H, W]");
  for (int i = 0; i < 4; ++i) {
    if (static_cast<double>(images.dim(i)) != input[static_cast<size_t>(i)])
      fail(ErrorKind::checkpoint, "parity: input.images is {}, unlike the option input",
           images.shape().str());
  }
  o.ignore({"loss"});
  return c;
}

// lam * onehot(label) + (1 - lam) * onehot(label of the mirrored sample), smoothed: on = 1 - s + s/K,
// off = s/K.
Tensor soft_targets(const Tensor& labels, int64_t classes, double lam, double smoothing) {
  const int64_t b = labels.numel();
  const Tensor t({b, classes}, DType::f32);
  const double off = smoothing / static_cast<double>(classes), on = 1 - smoothing + off;
  const int64_t* y = labels.data<int64_t>();
  for (int64_t i = 0; i < b; ++i) {
    for (int64_t k = 0; k < classes; ++k) {
      const double mine = y[i] == k ? on : off, other = y[b - 1 - i] == k ? on : off;
      t.data<float>()[i * classes + k] = static_cast<float>(lam * mine + (1 - lam) * other);
    }
  }
  return t;
}

// The fixture lists one row of draws per call, over the blocks whose rate is above zero: all but block 0.
Pass training_pass(const Tensor& draws) {
  Pass pass;
  if (!draws.defined()) return pass;
  pass.drop_path = [draws](int64_t element, double rate) {
    const int64_t row = element - 2;
    TS_CHECK(row >= 0 && row < draws.dim(0), "parity: no draw for drop-path branch {}", element);
    return drop_path_keep(draws.slice(row, row + 1).reshape({draws.dim(1)}), rate);
  };
  return pass;
}

void run(ParityFile& file) {
  const Options& o = file.config();
  const Tensor images = file.read("input.images");
  const VitConfig config = read_config(o, images);
  const int64_t classes = o.integer("num_classes");
  const Pool pool = o.flag("global_pool") ? Pool::mean : Pool::class_token;
  ParamStore store(file.precision());
  const VitClassifier model(Scope(store), config, classes, pool);
  store.freeze(0);
  load_parameters(store, file);

  const Tensor target = soft_targets(file.read("input.labels"), classes, o.number("mixup_lam"),
                                     o.number("label_smoothing"));
  file.tensor("out.target", target);
  const Pass pass = training_pass(file.has("input.drop_path_rand") ? file.read("input.drop_path_rand")
                                                                   : Tensor());
  {
    const NoGrad nothing_records;
    file.tensor("out.eval_output", model(images, {}).value());
    file.tensor("out.logits", model(images, pass).value());
  }
  const auto step = [&] {
    store.begin_gradients();
    Tape tape;
    const Var loss = cross_entropy(model(images, pass), target);
    tape.backward(loss);
    store.finish_gradients();
    return loss.value().item();
  };
  file.loss("out.loss", step());
  compare_gradients(store, file);
  train_and_compare(store, file, step);
}

const RegisterParity registered({"classify: plain ViT", serves, run});

}  // namespace
}  // namespace tessera
