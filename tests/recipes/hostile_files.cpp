// The hostile seeds of the fuzz targets (tools/fuzz_corpus.py) for safetensors, configuration and manifest:
// every one is refused, as the file's fault.
#include <doctest/doctest.h>

#include <filesystem>

#include "engine/safetensors.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/manifest.h"
#include "tests/recipes/program.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

template <class F> int for_each_hostile(const char* kind, ErrorKind wanted, F&& read) {
  int seen = 0;
  for (const auto& entry :
       fs::directory_iterator(std::string(TESSERA_SOURCE_DIR "/tests/fuzz/corpus/") + kind)) {
    const std::string path = entry.path().string();
    if (!entry.path().filename().string().starts_with("hostile-")) continue;
    CAPTURE(path);
    ++seen;
    bool refused = false;
    try {
      read(path, slurp(path));
    } catch (const Error& e) {
      refused = true;
      CHECK_MESSAGE(e.kind() == wanted, e.what());
      CHECK_MESSAGE(has(e.what(), wanted == ErrorKind::config ? "" : path), e.what());
      CHECK(std::string(e.what()).size() < 20'000);
    }
    CHECK(refused);
  }
  return seen;
}

}  // namespace

TEST_CASE("recipes/hostile_files: every hostile safetensors file of the fuzz corpus is refused") {
  CHECK(for_each_hostile("safetensors", ErrorKind::checkpoint,
                         [](const std::string& path, const std::string&) { load_safetensors(path); }) > 45);
}

TEST_CASE("recipes/hostile_files: every hostile configuration of the fuzz corpus is refused") {
  CHECK(for_each_hostile("config", ErrorKind::config, [](const std::string&, const std::string& text) {
          MaeSettings s;
          ConfigSources sources;
          const size_t zero = text.find('\0');  // overrides follow
          read_config_text(fields_of(s), text.substr(0, zero), "c.yaml", sources);
          if (zero != std::string::npos) read_config(fields_of(s), "", {text.substr(zero + 1)});
        }) > 30);
}

TEST_CASE("recipes/hostile_files: every hostile manifest of the fuzz corpus is refused, its sum put right") {
  CHECK(for_each_hostile("manifest", ErrorKind::checkpoint,
                         [](const std::string& path, const std::string& text) {
                           const std::string rest = text.substr(text.find('\n') + 1);
                           const std::string head = "{\"manifest_xxh3_128\": \"";
                           read_manifest(head + checksum(rest.data(), rest.size()) + "\",\n" + rest, path);
                         }) > 20);
  const std::string good = slurp(TESSERA_SOURCE_DIR "/tests/fuzz/corpus/manifest/one");
  const std::string rest = good.substr(good.find('\n') + 1);
  const std::string head = "{\"manifest_xxh3_128\": \"";
  CHECK(read_manifest(head + checksum(rest.data(), rest.size()) + "\",\n" + rest, "m").info.step == 12);
}

}  // namespace tessera::test
