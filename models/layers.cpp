#include "models/layers.h"

#include <cmath>

#include "autograd/recompute.h"
#include "engine/check.h"
#include "ops/attention/attention.h"
#include "ops/gelu/gelu.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/patchify/patchify.h"
#include "ops/residual/residual.h"

namespace tessera {
namespace {

// PyTorch's default of a convolution, for weight and bias: U(+-1/sqrt(fan_in)).
Init convolution_default(int64_t fan_in) {
  return Init::within(1.0 / std::sqrt(static_cast<double>(fan_in)));
}

}  // namespace

Init weight_init(WeightInit scheme, int64_t fan_in, int64_t fan_out) {
  return scheme == WeightInit::xavier ? Init::xavier(fan_in, fan_out) : Init::gaussian(0.02);
}

Linear::Linear(Scope s, int64_t in, int64_t out, Init init)
    : weight(s.param("weight", {out, in}, std::move(init), Decay::yes, Use::matrix)),
      bias(s.param("bias", {out}, Init::zeros(), Decay::no, Use::vector)) {}
Var Linear::operator()(const Var& x) const { return linear(x, weight, bias); }
Var Linear::operator()(const Var& x, DType out_dtype) const { return linear(x, weight, bias, out_dtype); }

LayerNorm::LayerNorm(Scope s, int64_t dim, float epsilon)
    : weight(s.param("weight", {dim}, Init::ones(), Decay::no, Use::vector)),
      bias(s.param("bias", {dim}, Init::zeros(), Decay::no, Use::vector)),
      eps(epsilon),
      out(s.compute_dtype()) {}
Var LayerNorm::operator()(const Var& x) const { return layer_norm(x, weight, bias, eps, out); }

Mlp::Mlp(Scope s, int64_t dim, int64_t hidden, WeightInit init)
    : fc1(s / "fc1", dim, hidden, weight_init(init, dim, hidden)),
      fc2(s / "fc2", hidden, dim, weight_init(init, hidden, dim)) {}
Var Mlp::hidden(const Var& x) const { return gelu(fc1(x)); }

SelfAttention::SelfAttention(Scope s, int64_t dim, int heads_, WeightInit init)
    : qkv(s / "qkv", dim, 3 * dim, weight_init(init, dim, 3 * dim)),
      proj(s / "proj", dim, dim, weight_init(init, dim, dim)),
      heads(heads_),
      scale(static_cast<float>(std::sqrt(static_cast<double>(heads_) / static_cast<double>(dim)))) {
  if (heads < 1 || dim % heads != 0)
    fail(ErrorKind::config, "model: width {} is not divisible by {} heads", dim, heads);
}
Var SelfAttention::mixed(const Var& x) const { return attention(qkv(x), heads, scale); }

Block::Block(Scope s, int64_t index_, int64_t dim, int heads, double mlp_ratio, float eps, double drop_path_,
             WeightInit init)
    : norm1(s / "norm1", dim, eps),
      attn(s / "attn", dim, heads, init),
      norm2(s / "norm2", dim, eps),
      mlp(s / "mlp", dim, static_cast<int64_t>(static_cast<double>(dim) * mlp_ratio), init),
      index(index_),
      drop_path(drop_path_) {}

Var Block::operator()(const Var& x, const Pass& pass) const {
  const auto keep = [&](int64_t branch) {
    return pass.drop_path && drop_path > 0 ? pass.drop_path(2 * index + branch, drop_path) : Tensor();
  };
  const auto branch = [&](const Var& in, auto inner, auto outer) {
    return pass.recompute ? recompute(in, inner, outer) : outer(in, inner(in));
  };
  const Var y = branch(
      x, [this](const Var& in) { return attn.mixed(norm1(in)); },
      [this, k = keep(0)](const Var& in, const Var& mixed) { return residual(in, attn.proj(mixed), k); });
  return branch(
      y, [this](const Var& in) { return mlp.hidden(norm2(in)); },
      [this, k = keep(1)](const Var& in, const Var& hidden) { return residual(in, mlp.fc2(hidden), k); });
}

Var run_blocks(const std::deque<Block>& blocks, Var x, const Pass& pass) {
  for (const Block& block : blocks) x = block(x, pass);
  return x;
}

// The bias keeps the convolution default in pre-training too: the official code never resets it (spec mae.md
// section 3).
PatchEmbed::PatchEmbed(Scope s, int64_t channels, int64_t ph, int64_t pw, int64_t dim, WeightInit init)
    : weight((s / "proj")
                 .param("weight", {dim, channels, ph, pw},
                        init == WeightInit::xavier ? Init::xavier(channels * ph * pw, dim)
                                                   : convolution_default(channels * ph * pw),
                        Decay::yes, Use::matrix)),
      bias(
          (s / "proj").param("bias", {dim}, convolution_default(channels * ph * pw), Decay::no, Use::vector)),
      patch_h(ph),
      patch_w(pw),
      compute(s.compute_dtype()) {}

Var PatchEmbed::operator()(const Tensor& images, const Tensor& keep) const {
  const Var patches = patchify(Var(images), static_cast<int>(patch_h), static_cast<int>(patch_w),
                               PatchOrder::channel_first, compute, keep);
  const int64_t dim = weight.shape[0];
  return linear(patches, weight.var().reshape({dim, weight.shape.numel() / dim}), bias);
}

}  // namespace tessera
