// The parts of a campaign. Each says how many trials it made, how many failed, and what they were.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "tests/campaign/run.h"

namespace tessera::campaign {

// Random choices of one trial, from the campaign's seed and the trial's number alone.
class Dice {
 public:
  Dice(uint64_t seed, int64_t trial) : seed_(seed), trial_(trial) {}
  int64_t below(int64_t n);  // 0 .. n - 1
  double uniform();          // [0, 1)

 private:
  uint32_t draw();
  uint64_t seed_;
  int64_t trial_;
  uint64_t drawn_ = 0;
};

// What trials report; any thread.
class Tally {
 public:
  explicit Tally(std::string name) : name_(std::move(name)) {}
  void count(const std::string& kind);                                                  // one more of `kind`
  void longest(double seconds);                                                         // keeps the greatest
  void end_trial(int64_t trial, const std::string& problem, const std::string& where);  // "" = it holds
  int64_t of(const std::string& kind) const;
  int64_t failed() const { return failed_; }
  void print() const;

 private:
  std::string name_;
  mutable std::mutex mutex_;
  std::map<std::string, int64_t> kinds_;
  int64_t trials_ = 0, failed_ = 0;
  double longest_ = -1;
};

struct Plan {
  const Bench& bench;
  int64_t trials = 0;
  uint64_t seed = 0;
  int jobs = 1;
  int64_t only = -1;  // this trial alone
};

// R1: killed at a random moment, or at a fault point of a save in every third trial; now and then killed
// again while it resumes. Fails unless a quarter of the kills fell inside a save.
bool kill_anywhere(const Plan& plan);
// R3: stopped at each kind of step, continued with other threads and workers.
bool resume_matrix(const Plan& plan);
// R5: the same run again, and with other threads, workers and recomputation, in f32 and bf16.
bool same_bits(const Plan& plan);
// R16: asked to leave at random moments and at fault points, twice during a save, during a data stall.
bool preempt(const Plan& plan);
// R17: `trials` levels of TESSERA_MEMORY_LIMIT between too small and enough: the run ends well, or with 6 and
// a text that says who holds what.
bool too_little_memory(const Plan& plan);

// Runs trial(i, folder of its run) for i in 0 .. n - 1 (or plan.only), plan.jobs at a time. Folders of trials
// that hold are removed.
void each_trial(const Plan& plan, int64_t n, Tally& tally, const std::string& name,
                const std::function<std::string(int64_t, const std::string&)>& trial);

}  // namespace tessera::campaign
