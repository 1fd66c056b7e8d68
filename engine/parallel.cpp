#include "engine/parallel.h"

#include <omp.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <vector>

#include "engine/check.h"

namespace tessera {

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
