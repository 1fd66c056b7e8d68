// Child processes of a campaign: started, signalled and waited for with a limit of time.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace tessera::campaign {

double seconds_now();  // monotonic
void sleep_seconds(double seconds);

// How a process ended: its exit code, or minus the signal that ended it.
struct Ended {
  int code = 0;
  bool operator==(const Ended&) const = default;
};

class Child {
 public:
  // Starts `command` (program and arguments). `faults` becomes its TESSERA_FAULTS; stdout and stderr are
  // appended to the file `log`. Throws Error(io) when it cannot be started.
  Child(const std::vector<std::string>& command, const std::string& faults, const std::string& log);
  ~Child();  // kills and reaps what still runs
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool running();                               // false once it has ended, or was waited for
  void signal(int number);                      // harmless when it has ended
  bool freeze();                                // SIGSTOP, and waits until it stands; false when it ended
  std::optional<Ended> wait(double at_most_s);  // nothing when it still runs then

 private:
  bool poll(int options);

  pid_t pid_ = -1;
  bool stopped_ = false;
  std::optional<Ended> ended_;
};

}  // namespace tessera::campaign
