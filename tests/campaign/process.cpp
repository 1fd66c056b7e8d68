// Processes by posix_spawn, since the campaign's own process has threads.
#include "tests/campaign/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/check.h"

namespace tessera::campaign {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

Child::Child(const std::vector<std::string>& command, const std::string& faults, const std::string& log) {
  std::vector<char*> arguments, environment;
  for (const std::string& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  for (char** e = environ; *e != nullptr; ++e) {
    if (std::strncmp(*e, "TESSERA_FAULTS=", 15) != 0) environment.push_back(*e);
  }
  std::string setting = "TESSERA_FAULTS=" + faults;
  environment.push_back(setting.data());
  environment.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  const int error = posix_spawn(&pid_, arguments[0], &files, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) fail(ErrorKind::io, "cannot start {}: {}", command[0], std::strerror(error));
}

Child::~Child() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  while (!ended_) poll(0);
}

// Looks once whether the state changed; blocks unless WNOHANG is among `options`. True when it has ended.
bool Child::poll(int options) {
  if (ended_) return true;
  int status = 0;
  const pid_t got = ::waitpid(pid_, &status, options);
  if (got < 0 && errno != EINTR) fail(ErrorKind::io, "cannot wait for process {}", pid_);
  if (got <= 0) return false;
  stopped_ = WIFSTOPPED(status);
  if (WIFEXITED(status)) ended_ = Ended{WEXITSTATUS(status)};
  if (WIFSIGNALED(status)) ended_ = Ended{-WTERMSIG(status)};
  return ended_.has_value();
}

bool Child::running() { return !poll(WNOHANG); }

void Child::signal(int number) {
  if (running()) ::kill(pid_, number);
}

bool Child::freeze() {
  signal(SIGSTOP);
  for (stopped_ = false; !ended_ && !stopped_;) poll(WUNTRACED);
  return stopped_;
}

std::optional<Ended> Child::wait(double at_most_s) {
  const double end = seconds_now() + at_most_s;
  while (running() && seconds_now() < end) sleep_seconds(0.001);
  return ended_;
}

}  // namespace tessera::campaign
