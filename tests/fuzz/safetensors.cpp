// Fuzz target: a safetensors file, from memory and from a path; and the checkpoint facts in its metadata.
#include "engine/safetensors.h"

#include <cstring>

#include "recipes/trainer/manifest.h"
#include "tests/fuzz/fuzz.h"

namespace tessera::fuzz {
namespace {

bool same(const SafeTensors& a, const SafeTensors& b) {
  if (a.metadata != b.metadata || a.tensors.size() != b.tensors.size()) return false;
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    const Tensor &x = a.tensors[i].second, &y = b.tensors[i].second;
    if (a.tensors[i].first != b.tensors[i].first || x.shape() != y.shape() || x.dtype() != y.dtype()) {
      return false;
    }
    if (x.bytes() > 0 && std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) != 0) return false;
  }
  return true;
}

}  // namespace
}  // namespace tessera::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  static fuzz::MemoryFile file;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  SafeTensors content;
  const bool good = fuzz::accepted({ErrorKind::checkpoint},
                                   [&] { content = parse_safetensors(bytes, size, "input"); });
  file.set(data, size);
  SafeTensors loaded;
  const bool again = fuzz::accepted({ErrorKind::checkpoint}, [&] { loaded = load_safetensors(file.path()); });
  fuzz::require(good == again && fuzz::same(content, loaded), "memory and file are read differently");
  if (!good) return 0;

  std::string text;
  write_safetensors(content,
                    [&](const void* part, size_t n) { text.append(static_cast<const char*>(part), n); });
  const SafeTensors back = parse_safetensors(reinterpret_cast<const std::byte*>(text.data()), text.size(),
                                             "copy");
  fuzz::require(fuzz::same(content, back), "what was written reads back differently");
  fuzz::accepted({ErrorKind::checkpoint}, [&] { info_from_metadata(content.metadata, "input"); });
  return 0;
}
