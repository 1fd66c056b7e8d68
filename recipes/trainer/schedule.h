// Schedule: the learning rate as a function of the fractional epoch: linear warm-up, then half a cosine
// (spec/mae.md 4.2).
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace tessera {

struct Schedule {
  double lr = 0;  // peak
  double min_lr = 0;
  double warmup_epochs = 0;
  double epochs = 0;

  // tau = epoch + micro-step in epoch / micro-steps per epoch. The first update of a run with warm-up uses 0.
  // A group's rate is this times its scale, warm-up and min_lr included (spec/evaluation.md 2).
  double at(double tau) const {
    if (tau < warmup_epochs) return lr * tau / warmup_epochs;
    const double done = (tau - warmup_epochs) / (epochs - warmup_epochs);
    return min_lr + (lr - min_lr) * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
};

// Peak rate of a base rate given per 256 pictures (spec/mae.md 4). effective_batch = batch x ranks x
// accumulation.
inline double scaled_lr(double blr, int64_t effective_batch) {
  return blr * static_cast<double>(effective_batch) / 256;
}

}  // namespace tessera
