// Signals: SIGTERM, SIGUSR1 and SIGINT ask the trainer to save after the present step and leave with code 75;
// a second SIGTERM or SIGINT leaves at once.
#pragma once

namespace tessera {

inline constexpr int kExitPreempted = 75;

void watch_signals();   // installs the handlers; again is harmless
int leave_requested();  // the signal that asked, or 0. Poll it in every loop.
const char* signal_name(int signal);
void forget_signals();  // default handlers again, and no request: for tests

}  // namespace tessera
