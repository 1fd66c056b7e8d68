// Profiler: how long each named scope took, with bytes and FLOPs where known,
// as a table against the machine's roof and as a Chrome trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

// Time from construction to destruction goes to `name` (static text) when profiling is on; off, it costs one
// relaxed load. `bytes`: what the work must at least read and write; `flops`: 2 for a multiply-add, of
// numbers of type `dtype`, which has a peak of its own. Scopes nest on a thread: the time of an inner one is
// not its outer one's own.
class ProfileScope {
 public:
  explicit ProfileScope(const char* name, int64_t bytes = 0, int64_t flops = 0, DType dtype = DType::f32);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  const char* name_;
  int64_t bytes_, flops_;
  bool bf16_;
  int64_t start_ = -1;  // ns; -1 when profiling was off
  int64_t inner_ = 0;   // ns spent in scopes inside this one
  ProfileScope* outer_ = nullptr;
};

// Bytes of all defined tensors: of what an op reads once and writes once.
template <class... Tensors> int64_t bytes_of(const Tensors&... tensors) {
  return (int64_t{0} + ... + (tensors.defined() ? tensors.bytes() : 0));
}

namespace profile {
struct Row {
  std::string name;
  int64_t calls = 0;
  int64_t ns = 0, own_ns = 0;  // with and without the scopes inside
  int64_t bytes = 0, flops = 0;
  int64_t bf16_flops = 0;  // of `flops`
};
void enable(bool on);
bool enabled();
void reset();
std::vector<Row> rows();  // by own time, longest first
// Rows by own time: calls and ms per call of `step` (the scope around a step; "" or unknown: in all), share,
// GB/s, GFLOP/s, and the share of the roof: the time that the machine's peaks (engine/roof.h, measured here
// for `threads` threads) would need over the time taken, with which of the two bounds it. Own time of `step`
// is what no scope covers.
std::string table(const std::string& step, int threads);
void write_trace(const std::string& path);  // Chrome trace JSON. Throws Error(io).
}  // namespace profile
}  // namespace tessera
