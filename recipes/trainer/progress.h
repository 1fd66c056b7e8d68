// Progress on stderr: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

struct StepReport {
  int64_t step = 0, steps = 0;  // done, of how many
  double epoch = 0;
  double loss = 0, lr = 0, grad_norm = 0;
  double images_per_second = 0;
  double eta_seconds = 0;
  int64_t memory_bytes = 0;
  double data_wait = 0;  // share of the time spent waiting for data, 0..1
};

// "step 120/9360  epoch 0.38  loss 0.9021  lr 4.6e-05  grad-norm 0.31  310 img/s  eta 1:02:03  mem 3.1 GB
// data_wait 2%"
std::string progress_line(const StepReport& report);

// "[####................] step 120/9360 ...", at most `width` columns.
std::string progress_bar(const StepReport& report, size_t width, bool colour);

class Progress {
 public:
  Progress();  // looks whether stderr is a terminal; colour unless NO_COLOR is set
  ~Progress();
  // Terminal: redraws, at most ten times a second (the last step always). Elsewhere: a line when `logged`,
  // nothing otherwise.
  void show(const StepReport& report, bool logged);

 private:
  bool terminal_, colour_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace tessera
