// Trials in parallel, their dice, and their tally.
#include "tests/campaign/trials.h"

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "engine/check.h"
#include "engine/random.h"

namespace tessera::campaign {

uint32_t Dice::draw() {
  return Philox(seed_, Purpose::test, 0, static_cast<uint64_t>(trial_)).below(drawn_++, UINT32_MAX);
}

double Dice::uniform() { return static_cast<double>(draw()) / static_cast<double>(UINT32_MAX); }

int64_t Dice::below(int64_t n) { return static_cast<int64_t>(uniform() * static_cast<double>(n)); }

void Tally::count(const std::string& kind) {
  const std::lock_guard lock(mutex_);
  ++kinds_[kind];
}

void Tally::longest(double seconds) {
  const std::lock_guard lock(mutex_);
  longest_ = std::max(longest_, seconds);
}

void Tally::end_trial(int64_t trial, const std::string& problem, const std::string& where) {
  const std::lock_guard lock(mutex_);
  ++trials_;
  if (problem.empty()) return;
  ++failed_;
  fmt::print("{} trial {}: {}\n  its folder: {}\n", name_, trial, problem, where);
  std::fflush(stdout);
}

int64_t Tally::of(const std::string& kind) const {
  const std::lock_guard lock(mutex_);
  const auto it = kinds_.find(kind);
  return it == kinds_.end() ? 0 : it->second;
}

void Tally::print() const {
  const std::lock_guard lock(mutex_);
  std::string kinds;
  for (const auto& [kind, n] : kinds_) kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", kind, n);
  fmt::print("{}: {} of {} hold ({})", name_, trials_ - failed_, trials_, kinds);
  if (longest_ >= 0) fmt::print("; at most {:.2f} s from the signal to the end", longest_);
  fmt::print("\n");
  std::fflush(stdout);
}

void each_trial(const Plan& plan, int64_t n, Tally& tally, const std::string& name,
                const std::function<std::string(int64_t, const std::string&)>& trial) {
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t i = next++; i < n; i = next++) {
      if (plan.only >= 0 && i != plan.only) continue;
      const std::string run = plan.bench.folder(fmt::format("{}-{}", name, i));
      std::string problem;
      try {
        problem = trial(i, run);
      } catch (const std::exception& e) {
        problem = e.what();
      }
      tally.end_trial(i, problem, run);
      std::error_code ignored;
      if (!problem.empty()) continue;
      std::filesystem::remove_all(run, ignored);
      std::filesystem::remove(run + ".out", ignored);
    }
  };
  std::vector<std::thread> workers;
  for (int j = 0; j < plan.jobs; ++j) workers.emplace_back(work);
  for (std::thread& w : workers) w.join();
}

}  // namespace tessera::campaign
