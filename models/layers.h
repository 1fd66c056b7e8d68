// The pieces every transformer here is made of: Linear, LayerNorm, Mlp, SelfAttention, Block (spec vit.md
// section 2). Constructors create the parameters; nesting gives the names.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "autograd/param.h"
#include "autograd/var.h"

namespace tessera {

// How matrices start: xavier = U(+-sqrt(6/(in+out))) with the fused qkv counted as one matrix (MAE
// pre-training); normal02 = N(0, 0.02^2) (classification from scratch). Biases start at zero under both.
enum class WeightInit { xavier, normal02 };
Init weight_init(WeightInit scheme, int64_t fan_in, int64_t fan_out);

// What a forward pass is told besides its input.
struct Pass {
  // Per-sample factors [B] f32 of stochastic depth for branch `element` (2 * block + 0 for attention, + 1 for
  // MLP) at `rate`: 0, or 1/(1-rate). Empty: evaluation, every branch is kept as it is.
  std::function<Tensor(int64_t element, double rate)> drop_path;
  bool recompute = false;  // keep each branch's input only; run the branch again in backward
};

struct Linear {
  Param &weight, &bias;  // [out, in], [out]

  Linear(Scope s, int64_t in, int64_t out, Init init);
  // x [..., in] -> [..., out] in x's dtype, or in `out_dtype`.
  Var operator()(const Var& x) const;
  Var operator()(const Var& x, DType out_dtype) const;
};

struct LayerNorm {
  Param &weight, &bias;  // [dim]
  float eps;
  DType out;  // of the result: what the next matrix product reads

  LayerNorm(Scope s, int64_t dim, float eps);
  Var operator()(const Var& x) const;
};

struct Mlp {
  Linear fc1, fc2;

  Mlp(Scope s, int64_t dim, int64_t hidden, WeightInit init);
  Var hidden(const Var& x) const;  // [..., dim] -> [..., hidden]
  Var operator()(const Var& x) const { return fc2(hidden(x)); }
};

struct SelfAttention {
  Linear qkv, proj;
  int heads;
  float scale;  // 1 / sqrt(head width)

  // Throws Error(config) unless dim is divisible by heads.
  SelfAttention(Scope s, int64_t dim, int heads, WeightInit init);
  Var mixed(const Var& x) const;  // x [B, N, dim] -> the heads' outputs side by side, before proj
  Var operator()(const Var& x) const { return proj(mixed(x)); }
};

// x + DP(attn(norm1(x))), then x + DP(mlp(norm2(x))); x [B, N, dim] f32.
struct Block {
  LayerNorm norm1;
  SelfAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  int64_t index;
  double drop_path;

  Block(Scope s, int64_t index, int64_t dim, int heads, double mlp_ratio, float eps, double drop_path,
        WeightInit init);
  Var operator()(const Var& x, const Pass& pass) const;
};

// Blocks one after the other.
Var run_blocks(const std::deque<Block>& blocks, Var x, const Pass& pass);

// Convolution with kernel = stride = patch as a matrix product (spec vit.md section 3).
struct PatchEmbed {
  Param &weight, &bias;  // proj.weight [dim, channels, ph, pw], proj.bias [dim]
  int64_t patch_h, patch_w;
  DType compute;

  PatchEmbed(Scope s, int64_t channels, int64_t patch_h, int64_t patch_w, int64_t dim, WeightInit init);
  // images [B, C, H, W] f32 -> [B, K, dim]: all patches in row-major order, or those listed in keep [B, K]
  // i32.
  Var operator()(const Tensor& images, const Tensor& keep = {}) const;
};

}  // namespace tessera
