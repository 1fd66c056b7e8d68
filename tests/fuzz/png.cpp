// Fuzz target: a PNG file, decoded whole and in part. Its first bytes are given: no input is spent on them.
#include <vector>

#include "tests/fuzz/pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  static constexpr uint8_t kMagic[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  std::vector<uint8_t> file(std::begin(kMagic), std::end(kMagic));
  const size_t skipped = std::min(size, sizeof(kMagic));  // the corpus holds whole files
  file.insert(file.end(), data + skipped, data + size);
  for (const int channels : {1, 3, 4}) fuzz::decode_whole_and_part(file, channels);
  return 0;
}
