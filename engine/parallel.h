// parallel_for over OpenMP (oneDNN's own runtime: two pools would fight).
// Work splits by size, never by thread count, so results cannot depend on how many threads run.
#pragma once

#include <cstdint>
#include <functional>

namespace tessera {

int threads();
void set_threads(int n);  // this process; n >= 1

// libgomp spins at barriers unless OMP_WAIT_POLICY says otherwise, and reads that when it is
// loaded: on a busy machine a spinning barrier costs 5-9x. Call first thing in main(): sets the
// variable and re-executes the program once.
void wait_passively(char** argv);

// Pins every OpenMP thread to a core of its own among those this process may use: another busy process then
// slows one of them and not all in turn. Does nothing unless threads() is the number of those cores (with
// fewer, two processes would pin to the same ones), or where OMP_PROC_BIND or OMP_PLACES is set, or
// TESSERA_PIN=0. True if it pinned.
bool pin_threads();
// Lets the calling thread, which inherited its maker's core, run on all cores again. For threads that are not
// OpenMP's.
void unpin_thread();

namespace detail {
void parallel_chunks(int64_t chunks, const std::function<void(int64_t)>& run);
}

// Calls f(begin, end) for consecutive ranges of `grain` items that cover [0, n).
// Ranges run on any thread in any order.
// Nested calls run inline. The first exception is rethrown on the calling thread.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks == 1) {
    f(int64_t{0}, n);
    return;
  }
  detail::parallel_chunks(chunks,
                          [&](int64_t c) { f(c * grain, c * grain + grain < n ? c * grain + grain : n); });
}

// Sum over ranges of partial sums f(begin, end) -> double, added in range order:
// the same bits for any thread count.
double parallel_sum(int64_t n, int64_t grain, const std::function<double(int64_t, int64_t)>& f);

}  // namespace tessera
