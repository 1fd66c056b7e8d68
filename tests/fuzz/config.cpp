// Fuzz target: a YAML configuration of MAE pre-training, then overrides; zero bytes stand between them.
#include "recipes/trainer/config.h"

#include "recipes/mae/pretrain.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  std::vector<std::string> parts{""};
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == 0) {
      parts.emplace_back();
    } else {
      parts.back() += static_cast<char>(data[i]);
    }
  }
  const std::string yaml = parts.front();
  parts.erase(parts.begin());

  MaeSettings settings;
  ConfigSources sources;
  fuzz::accepted({ErrorKind::config},
                 [&] { read_config_text(fields_of(settings), yaml, "input.yaml", sources); });
  MaeSettings s;
  if (!fuzz::accepted({ErrorKind::config}, [&] { load_config(s, "", parts); })) return 0;
  for (const MaeSettings& given : {settings, s}) {
    const std::string text = to_yaml(given);
    MaeSettings back;
    read_config_text(fields_of(back), text, "copy.yaml", sources);
    fuzz::require(to_yaml(back) == text, "what was written reads back differently");
  }
  return 0;
}
