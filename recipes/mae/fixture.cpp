// Parity of MAE pre-training: forward, loss, every gradient, five AdamW steps (fixtures mae_pretrain_*).
#include <memory>

#include "autograd/tape.h"
#include "engine/check.h"
#include "recipes/mae/mae.h"
#include "recipes/trainer/optimizer.h"
#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

MaeConfig read_config(const Options& o, const Tensor& images) {
  MaeConfig c;
  c.encoder = read_vit(o, images.shape());
  c.decoder.dim = o.integer("decoder_embed_dim");
  c.decoder.depth = o.integer("decoder_depth");
  c.decoder.heads = static_cast<int>(o.integer("decoder_num_heads"));
  c.mask_ratio = o.number("mask_ratio");
  c.normalize_target = o.flag("norm_pix_loss");
  return c;
}

// Mask as the official code returns it: 1 where hidden.
Tensor mask_of(const Masking& m) {
  const Tensor mask(m.restore.shape(), DType::f32);
  for (int64_t i = 0; i < mask.numel(); ++i) {
    mask.data<float>()[i] = m.restore.data<int32_t>()[i] < m.keep.dim(1) ? 0.0f : 1.0f;
  }
  return mask;
}

double train_step_loss(const Mae& mae, ParamStore& store, const Tensor& images, const Tensor& noise) {
  store.begin_gradients();
  Tape tape;
  const Var loss = mae.loss(images, noise, {});
  tape.backward(loss);
  store.finish_gradients();
  return loss.value().item();
}

void run(ParityFile& file) {
  const Options& o = file.config();
  const Tensor images = file.read("input.imgs"), noise = file.read("input.noise");
  const MaeConfig config = read_config(o, images);
  ParamStore store(file.precision());
  const Mae mae(Scope(store), config);
  o.require("len_keep", static_cast<double>(mae.kept()));
  store.freeze(0);
  load_parameters(store, file);

  const Masking masking = mask_by_noise(noise, mae.kept());
  file.exact("out.mask", mask_of(masking));
  file.exact("out.ids_restore", masking.restore);
  {
    const NoGrad nothing_records;
    file.tensor("out.latent", mae.encode(images, masking.keep, {}).value());
    file.tensor("out.pred", mae.predict(images, masking, {}).value());
  }
  file.loss("out.loss", train_step_loss(mae, store, images, noise));
  compare_gradients(store, file);
  train_and_compare(store, file, [&] { return train_step_loss(mae, store, images, noise); });
}

const RegisterParity registered({"mae_pretrain",
                                 [](const Options& o) { return o.text("case") == "mae_pretrain"; }, run});

}  // namespace
}  // namespace tessera
