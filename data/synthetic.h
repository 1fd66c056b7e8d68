// Made-up pictures for tests and bench: no files, the same on every machine's run.
#pragma once

#include "data/dataset.h"

namespace tessera {

// A plane wave per channel, whose direction tells the class (index mod 10) and whose pitch, phase and colour
// come from Philox(0, synthetic, 0, index): pictures that can be told apart and reconstructed, at the cost of
// two multiplies a pixel.
class Synthetic : public Dataset {
 public:
  // height, width >= 1; channels 1, 3 or 4.
  Synthetic(int64_t n, int height, int width, int channels);

  int64_t size() const override { return n_; }
  int classes() const override { return kClasses; }
  int32_t label(int64_t i) const override;
  std::string describe(int64_t i) const override;
  void load(int64_t i, int channels, const ChooseBox& choose, Picture& out) const override;

 private:
  static constexpr int kClasses = 10;
  int64_t n_;
  int height_, width_, channels_;
};

}  // namespace tessera
