#include "engine/device.h"

#include "engine/check.h"

namespace tessera {

Device parse_device(const std::string& text) {
  if (text == "cpu") return Device::cpu();
  if (text == "cuda") return Device::cuda();
  if (text.starts_with("cuda:") && text.size() > 5 && text.size() < 8 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos) {
    return Device::cuda(std::stoi(text.substr(5)));
  }
  fail(ErrorKind::config, "device: \"{}\" is not known; use cpu, cuda or cuda:N", text);
}

}  // namespace tessera
