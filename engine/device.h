// Device: which machine a tensor lives on.
#pragma once

#include <string>

#include "engine/require.h"

namespace tessera {

struct Device {
  enum Kind : int { cpu_kind, cuda_kind };
  Kind kind = cpu_kind;
  int index = 0;

  static constexpr Device cpu() { return {cpu_kind, 0}; }
  static constexpr Device cuda(int index = 0) { return {cuda_kind, index}; }
  bool is_cpu() const { return kind == cpu_kind; }
  bool operator==(const Device&) const = default;
  std::string str() const { return is_cpu() ? "cpu" : "cuda:" + std::to_string(index); }
};

// Parses "cpu", "cuda" or "cuda:1". Throws Error(config) otherwise.
Device parse_device(const std::string& text);

// The table of an op's half for `device`.
// This is the one place that says so while the CUDA halves are not there yet.
template <class Kernels> const Kernels& half_on(Device device, const Kernels& cpu_half) {
  if (!device.is_cpu()) {
    throw Error(ErrorKind::config,
                "device " + device.str() + ": this build has no CUDA half yet; use device=cpu");
  }
  return cpu_half;
}

}  // namespace tessera
