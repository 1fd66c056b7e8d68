// Schedule: the learning rate as a function of the fractional epoch: linear warm-up, then half a cosine
// (spec/mae.md 4.2, maskfeat.md 9); and SimMIM's, a function of the updates done (spec/simmim.md A6).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace tessera {

struct Schedule {
  double lr = 0;  // peak
  double min_lr = 0;
  double warmup_epochs = 0;
  double epochs = 0;
  double warmup_lr = 0;  // where the warm-up starts
  bool cosine_from_start =
      false;  // the cosine spans all epochs, and the warm-up ends on it (SlowFast's plain cosine)

  // tau = epoch + micro-step in epoch / micro-steps per epoch. The first update of a run with warm-up uses
  // warmup_lr. A group's rate is this times its scale, warm-up and min_lr included (spec/evaluation.md 2).
  double at(double tau) const {
    if (tau >= warmup_epochs) return cosine(tau);
    const double top = cosine_from_start ? cosine(warmup_epochs) : lr;
    return warmup_lr + (top - warmup_lr) * tau / warmup_epochs;
  }

 private:
  double cosine(double tau) const {
    const double begin = cosine_from_start ? 0 : warmup_epochs;
    return min_lr + (lr - min_lr) * 0.5 * (1 + std::cos(std::numbers::pi * (tau - begin) / (epochs - begin)));
  }
};

// SimMIM sets the rate after each update, so that an update uses what the one before it left.
struct UpdateSchedule {
  double lr = 0;  // peak
  double min_lr = 0;
  double warmup_lr = 0;
  int64_t warmup_updates = 0;
  int64_t updates = 0;                   // of the run; the cosine spans all of them, warm-up included
  std::vector<int64_t> milestones = {};  // ascending; not empty: no cosine, the rate drops by 0.1 at each

  // Set after update t = 0, 1, ...; what update t + 1 uses.
  double after(int64_t t) const {
    const auto done = static_cast<double>(t);
    if (t < warmup_updates) return warmup_lr + done * (lr - warmup_lr) / static_cast<double>(warmup_updates);
    if (!milestones.empty()) {
      const auto passed = std::upper_bound(milestones.begin(), milestones.end(), t) - milestones.begin();
      return lr * std::pow(0.1, static_cast<double>(passed));
    }
    const double share = std::min(1.0, done / static_cast<double>(updates));
    return min_lr + 0.5 * (lr - min_lr) * (1 + std::cos(std::numbers::pi * share));
  }
  double used(int64_t t) const { return t > 0 ? after(t - 1) : warmup_updates > 0 ? warmup_lr : lr; }
};

// Peak rate of a base rate given per 256 pictures (spec/mae.md 4). effective_batch = batch x ranks x
// accumulation.
inline double scaled_lr(double blr, int64_t effective_batch) {
  return blr * static_cast<double>(effective_batch) / 256;
}

}  // namespace tessera
