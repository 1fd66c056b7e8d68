// Fuzz target: a checkpoint's manifest, as it is and with its own sum put right (or no input gets past it).
#include "recipes/trainer/manifest.h"

#include <string_view>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  std::string text(reinterpret_cast<const char*>(data), size);
  fuzz::accepted({ErrorKind::checkpoint}, [&] { read_manifest(text, "input"); });

  static const std::string head = "{\"manifest_xxh3_128\": \"";
  const size_t line = text.find('\n');
  const std::string rest = line == std::string::npos ? text : text.substr(line + 1);
  text = head + checksum(rest.data(), rest.size()) + "\",\n" + rest;
  Manifest manifest;
  if (!fuzz::accepted({ErrorKind::checkpoint}, [&] { manifest = read_manifest(text, "input"); })) return 0;
  const std::string again = write_manifest(manifest);
  fuzz::require(write_manifest(read_manifest(again, "copy")) == again,
                "what was written reads back differently");
  return 0;
}
