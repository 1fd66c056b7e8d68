// The small pre-training run that a campaign breaks off and continues, and what must be the same afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/campaign/process.h"

namespace tessera::campaign {

// What may differ between runs whose results must not.
struct Variant {
  int threads = 1, workers = 2;
  bool recompute = false;
  std::string precision = "f32";
  int64_t max_steps = 0;  // 0: to the end
};

// Of Bench::tiny.yaml; the length of the run in steps follows from the pictures.
inline constexpr int64_t kPictures = 26, kBatch = 3, kAccumulate = 2, kEpochs = 8;
inline constexpr int64_t kStepsPerEpoch = kPictures / kBatch / kAccumulate;
inline constexpr int64_t kSteps = kEpochs * kStepsPerEpoch;
inline constexpr int64_t kSaveEvery = 3, kPictureEvery = 5, kKeep = 2;

// A scratch folder with pictures (JPEG and PNG, one broken) and a preset; starts runs of the real binary.
class Bench {
 public:
  // `mae`: path of the binary. Throws Error(config) when it is not there.
  explicit Bench(const std::string& mae);
  ~Bench();  // removes the folder unless keep() was called
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  void keep() { keep_ = true; }
  const std::string& mae() const { return mae_; }
  std::string folder(const std::string& name) const { return folder_ + "/" + name; }  // of a run
  std::unique_ptr<Child> start(const std::string& run, const Variant& v, bool resume,
                               const std::string& faults = "") const;
  // Starts and waits; a run that takes more than a minute is a failure (exit code -1000).
  Ended finish(const std::string& run, const Variant& v, bool resume, const std::string& faults = "") const;
  // The unbroken run of a precision, made once, and how many seconds it took.
  const std::string& whole(const std::string& precision = "f32") const { return whole_.at(precision); }
  double whole_seconds() const { return whole_seconds_; }

 private:
  std::string mae_, folder_;
  std::map<std::string, std::string> whole_;
  double whole_seconds_ = 0;
  bool keep_ = false;
};

int64_t logged_steps(const std::string& run);  // whole lines of log.jsonl
int64_t latest_step(const std::string& run);   // of the newest checkpoint that verifies; -1 for none
bool save_under_way(const std::string& run);   // a temporary or retired folder lies in checkpoints/

struct Compare {
  bool files = true;           // checkpoint files byte for byte: where both runs had one configuration
  bool more_pictures = false;  // `other` may have drawn others too: where it once stopped by max_steps
};
// "" when the finished run `other` equals `whole` in the final weights and moments, every logged step, the
// pictures, the broken samples and the TensorBoard curves, and left nothing behind; else what differs.
std::string difference(const std::string& whole, const std::string& other, const Compare& compare = {});

// TensorBoard's view of a run: all event files in the order of names, restarts obeyed: tag -> step -> value.
// Each (tag, step) once. Throws Error(data) for a bad record, except a torn last one of an earlier process.
using Curves = std::map<std::string, std::map<int64_t, float>>;
Curves read_events(const std::string& run);

}  // namespace tessera::campaign
