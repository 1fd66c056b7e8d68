#include "engine/parallel.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include "engine/check.h"

namespace tessera {

namespace {

// The cores this process may use; asked before any thread is pinned.
const cpu_set_t& process_cores() {
  static const cpu_set_t cores = [] {
    cpu_set_t c;
    CPU_ZERO(&c);
    sched_getaffinity(0, sizeof c, &c);
    return c;
  }();
  return cores;
}

void run_on(int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  sched_setaffinity(0, sizeof one, &one);  // a hint: where it is refused, threads wander
}

}  // namespace

int threads() { return omp_get_max_threads(); }

void set_threads(int n) {
  TS_CHECK(n >= 1, "threads: {} asked for, at least 1 is needed", n);
  omp_set_num_threads(n);
}

void wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe",
        argv);  // returns only if it fails; then we go on with active waiting, slower but right
}

bool pin_threads() {
  const cpu_set_t& allowed = process_cores();
  const char* pin = std::getenv("TESSERA_PIN");
  if (std::getenv("OMP_PROC_BIND") != nullptr || std::getenv("OMP_PLACES") != nullptr) return false;
  if ((pin != nullptr && std::strcmp(pin, "0") == 0) || threads() != CPU_COUNT(&allowed)) return false;
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
#pragma omp parallel
  run_on(cores[static_cast<size_t>(omp_get_thread_num())]);
  return true;
}

void unpin_thread() { sched_setaffinity(0, sizeof(cpu_set_t), &process_cores()); }

void detail::parallel_chunks(int64_t chunks, const std::function<void(int64_t)>& run) {
  if (omp_in_parallel() || omp_get_max_threads() == 1) {
    for (int64_t c = 0; c < chunks; ++c) run(c);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic)
  for (int64_t c = 0; c < chunks; ++c) {
    try {
      run(c);
    } catch (...) {
#pragma omp critical(tessera_parallel_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

double parallel_sum(int64_t n, int64_t grain, const std::function<double(int64_t, int64_t)>& f) {
  if (n <= 0) return 0;
  std::vector<double> partial(static_cast<size_t>((n + grain - 1) / grain));
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    partial[static_cast<size_t>(begin / grain)] = f(begin, end);
  });
  double total = 0;
  for (double p : partial) total += p;
  return total;
}

}  // namespace tessera
