// Replays the events of a step at another batch size.
#include "recipes/trainer/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "engine/check.h"

namespace tessera {
namespace {

constexpr const char* kWorkspace = "workspace";

// An event other than of workspace, and the workspace of the time before it.
struct Moment {
  const char* label = "";
  int64_t bytes = 0;      // 0: the block taken by moment `gives_back` is given back
  size_t gives_back = 0;  // kBefore: a block that was taken before the step
  int64_t workspace = 0;  // highest sum since the moment before
  int64_t tasks = 0;      // workspace blocks taken since then
};
constexpr size_t kBefore = SIZE_MAX;

std::vector<Moment> moments(const StepTrace& trace) {
  std::vector<Moment> all;
  std::unordered_map<const void*, size_t> taken_at;
  std::unordered_map<const void*, int64_t> workspace;
  int64_t now = 0, most = 0, tasks = 0;
  const auto add = [&](Moment m) {
    m.workspace = most;
    m.tasks = tasks;
    all.push_back(m);
    most = now;
    tasks = 0;
  };
  for (const memory::Event& e : trace.events) {
    const bool taken = e.bytes > 0;
    if (std::strcmp(e.label, kWorkspace) == 0) {
      now += taken ? e.bytes : -workspace[e.block];
      if (taken) workspace[e.block] = e.bytes;
      tasks += taken ? 1 : 0;
      most = std::max(most, now);
    } else if (taken) {
      taken_at[e.block] = all.size();
      add({e.label, e.bytes, 0, 0, 0});
    } else {
      const auto it = taken_at.find(e.block);
      add({e.label, 0, it == taken_at.end() ? kBefore : it->second, 0, 0});
    }
  }
  add({});  // the workspace after the last event
  return all;
}

// The value at `batch` of the line through two.
int64_t along(int64_t b0, int64_t v0, int64_t b1, int64_t v1, int64_t batch) {
  if (b0 == b1) return v1;
  return std::max<int64_t>(0, v1 + (v1 - v0) * (batch - b1) / (b1 - b0));
}

}  // namespace

void MemoryPlan::add(const std::string& label, int64_t bytes) {
  by_label[label] += bytes;
  peak += bytes;
}

MemoryPlan plan_memory(const StepTrace& small, const StepTrace& large, int64_t batch, int threads,
                       const std::map<std::string, int64_t>& held) {
  const std::vector<Moment> a = moments(small), b = moments(large);
  const auto same = [](const Moment& x, const Moment& y) {
    return std::strcmp(x.label, y.label) == 0 && (x.bytes > 0) == (y.bytes > 0) &&
           x.gives_back == y.gives_back;
  };
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end(), same);
  TS_CHECK(x == a.end() && y == b.end(),
           "plan: steps of {} and {} pictures differ at event {} of {} and {}, so no other can be planned",
           small.batch, large.batch, x - a.begin(), a.size(), b.size());

  std::map<std::string, int64_t> now = held;
  int64_t total = 0;
  for (const auto& [label, bytes] : held) total += bytes;
  MemoryPlan plan;
  std::vector<int64_t> taken(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const auto at = [&](int64_t Moment::*part) {
      return along(small.batch, a[i].*part, large.batch, b[i].*part, batch);
    };
    const int64_t inside = std::clamp<int64_t>(at(&Moment::tasks), 1, threads);
    const int64_t sum = at(&Moment::workspace), workspace = sum > 0 ? inside * memory::block_bytes(sum) : 0;
    if (total + workspace > plan.peak) {
      plan = {total + workspace, now};
      plan.by_label[kWorkspace] += workspace;
    }
    if (a[i].bytes > 0) {
      taken[i] = memory::block_bytes(at(&Moment::bytes));
      now[a[i].label] += taken[i];
      total += taken[i];
    } else if (a[i].gives_back != kBefore && i + 1 < a.size()) {
      now[a[i].label] -= taken[a[i].gives_back];
      total -= taken[a[i].gives_back];
    }
  }
  return plan;
}

}  // namespace tessera
