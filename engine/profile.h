// Profiler: how long each named scope took, with bytes and FLOPs where known,
// as a table and as a Chrome trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

// Time from construction to destruction goes to `name`
// (static text) when profiling is on; otherwise nearly free.
class ProfileScope {
 public:
  explicit ProfileScope(const char* name, int64_t bytes = 0, int64_t flops = 0);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  const char* name_;
  int64_t bytes_, flops_;
  int64_t start_ = -1;  // ns; -1 when profiling was off
};

namespace profile {
struct Row {
  std::string name;
  int64_t calls = 0, ns = 0, bytes = 0, flops = 0;
};
void enable(bool on);
bool enabled();
void reset();
std::vector<Row> rows();                    // by time, longest first
std::string table();                        // name, calls, ms, share, GB/s, GFLOP/s
void write_trace(const std::string& path);  // Chrome trace JSON. Throws Error(io).
}  // namespace profile
}  // namespace tessera
