// Fuzz target: what our baseline JPEG decoder accepts, damaged or not, has libjpeg's pixels.
#include "data/jpeg_fast.h"

#include <csetjmp>
#include <cstring>

#include "tests/fuzz/fuzz.h"

namespace tessera::fuzz {
namespace {

constexpr unsigned kMostPixels = 1 << 18;

struct Errors {
  jpeg_error_mgr manager{};
  std::jmp_buf leave;
};

void leave(j_common_ptr info) { std::longjmp(reinterpret_cast<Errors*>(info->err)->leave, 1); }

// Both decoders on one file. Nothing with a destructor lives between setjmp and longjmp.
void compare(const uint8_t* data, size_t size) {
  static Picture fast, slow;
  jpeg_decompress_struct info{};
  Errors errors;
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = leave;
  errors.manager.emit_message = [](j_common_ptr, int) {};
  jpeg_create_decompress(&info);
  volatile bool accepted = false;
  if (setjmp(errors.leave) == 0) {
    jpeg_mem_src(&info, data, size);
    jpeg_read_header(&info, TRUE);
    if (info.image_width * info.image_height <= kMostPixels && !info.progressive_mode) {
      const int height = static_cast<int>(info.image_height), width = static_cast<int>(info.image_width);
      accepted = decode_jpeg_fast(info, {info.src->next_input_byte, info.src->bytes_in_buffer}, 3,
                                  {0, 0, height, width}, fast);
      if (accepted) {
        slow.reset(height, width, 3);
        info.out_color_space = JCS_RGB;
        jpeg_start_decompress(&info);
        while (info.output_scanline < info.output_height) {
          JSAMPROW row = slow.row(static_cast<int>(info.output_scanline));
          jpeg_read_scanlines(&info, &row, 1);
        }
        for (int y = 0; y < height; ++y) {
          require(std::memcmp(fast.row(y), slow.row(y), static_cast<size_t>(3 * width)) == 0,
                  "our decoder's pixels are not libjpeg's");
        }
      }
    }
  } else {
    require(!accepted, "our decoder accepts what libjpeg refuses");
  }
  jpeg_destroy_decompress(&info);
}

}  // namespace
}  // namespace tessera::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 3) tessera::fuzz::compare(data, size);
  return 0;
}
