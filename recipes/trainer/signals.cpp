// The handlers only note the signal; the trainer polls.
#include "recipes/trainer/signals.h"

#include <atomic>
#include <csignal>

namespace tessera {
namespace {

// Any thread may take a signal, and any may poll: atomic, and lock-free as a handler needs.
std::atomic<int> requested{0};
std::atomic<int> stops{0};  // SIGTERM and SIGINT so far; SIGUSR1 is a batch system's early warning
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void note(int signal) {
  requested = signal;
  if (signal == SIGUSR1) return;
  if (++stops < 2) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

}  // namespace

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // a read or write under way goes on
  sigemptyset(&action.sa_mask);
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
}

int leave_requested() { return requested; }

const char* signal_name(int signal) {
  switch (signal) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGUSR1: return "SIGUSR1";
    default: return "signal";
  }
}

void forget_signals() {
  for (int signal : kSignals) std::signal(signal, SIG_DFL);
  requested = 0;
  stops = 0;
}

}  // namespace tessera
