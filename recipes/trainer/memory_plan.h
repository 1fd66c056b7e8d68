// MemoryPlan: what a step will hold at its peak, told from the events of two smaller steps.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/memory.h"

namespace tessera {

struct MemoryPlan {
  int64_t peak = 0;                         // bytes held by tensors at the worst moment
  std::map<std::string, int64_t> by_label;  // at that moment; sums to peak

  // Adds memory that is held throughout.
  void add(const std::string& label, int64_t bytes);
};

// The events of one step (memory::Recorder) of `batch` pictures, on one thread.
struct StepTrace {
  int64_t batch = 0;
  std::vector<memory::Event> events;
};

// Of a step of `batch` pictures on `threads` threads, beside what was held before it (`held`, by label).
//
// A step takes and gives back blocks in an order that does not depend on the batch, and every size is affine
// in it: so event by event the size for any batch follows from two, is rounded as the pool rounds, and the
// worst moment is found by replaying. Blocks labelled "workspace" are the exception, since their number
// follows the tasks: between two other events only their highest sum counts, times the threads that can be
// inside such tasks at once.
// Throws Error(internal) if the order of the two traces differs.
MemoryPlan plan_memory(const StepTrace& small, const StepTrace& large, int64_t batch, int threads,
                       const std::map<std::string, int64_t>& held);

}  // namespace tessera
