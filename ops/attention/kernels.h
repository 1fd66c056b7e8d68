// The contract of attention's halves.
// B images, N tokens, H heads of width D; qkv, dqkv [B,N,3*H*D]; y, dy [B,N,H*D].
#pragma once

#include "engine/tensor.h"

namespace tessera {

struct AttentionKernels {
  // lse [B,H,N] f32 = log2(sum over keys of e^logit):
  // base 2, so that backward's e^(logit - lse) is one exp2 and rounds once.
  // An undefined lse is not written.
  void (*forward)(const Tensor& y, const Tensor& lse, const Tensor& qkv, int heads, float scale);
  // dqkv is overwritten.
  void (*backward)(const Tensor& dqkv, const Tensor& dy, const Tensor& qkv, const Tensor& y,
                   const Tensor& lse, int heads, float scale);
};

extern const AttentionKernels attention_cpu;

}  // namespace tessera
