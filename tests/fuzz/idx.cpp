// Fuzz target: an IDX file, plain or gzip, as pictures and as labels.
#include "data/idx.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  static fuzz::MemoryFile file;
  file.set(data, size);
  fuzz::accepted({ErrorKind::data}, [&] {
    const std::unique_ptr<Dataset> set = open_idx(file.path(), "");
    Picture picture;
    for (const int64_t i : {int64_t{0}, set->size() - 1}) {
      for (const int channels : {1, 3, 4}) {
        fuzz::accepted({ErrorKind::data}, [&] { set->load(i, channels, whole_picture, picture); });
      }
    }
  });
  static const std::string images = [] {  // one picture of one pixel
    static fuzz::MemoryFile one;
    static constexpr uint8_t kOne[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 77};
    one.set(kOne, sizeof(kOne));
    return one.path();
  }();
  fuzz::accepted({ErrorKind::data}, [&] { open_idx(images, file.path())->label(0); });
  return 0;
}
