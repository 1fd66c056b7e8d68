// Fuzz target: what our baseline JPEG decoder accepts, damaged or not, has libjpeg's pixels, unless its
// coefficients are larger than a picture's can be and 16 bits overflow in an order of each decoder's own.
#include "data/jpeg_fast.h"

#include <csetjmp>
#include <cstdlib>
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

// A decompressor that says nothing and leaves by longjmp.
void begin(jpeg_decompress_struct& info, Errors& errors) {
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = leave;
  errors.manager.emit_message = [](j_common_ptr, int) {};
  jpeg_create_decompress(&info);
}

// True if no block's coefficients, dequantised, add up to more than the inverse transform holds in 16 bits
// whatever their signs: 4 * 1.39 times their sum stays below 2^15.
bool fits_16_bits(const uint8_t* data, size_t size) {
  constexpr int64_t kMostSum = 5800;
  jpeg_decompress_struct info{};
  Errors errors;
  begin(info, errors);
  volatile bool fits = true;
  if (setjmp(errors.leave) == 0) {
    jpeg_mem_src(&info, data, size);
    jpeg_read_header(&info, TRUE);
    jvirt_barray_ptr* blocks = jpeg_read_coefficients(&info);
    for (int c = 0; c < info.num_components; ++c) {
      const jpeg_component_info& part = info.comp_info[c];
      for (JDIMENSION y = 0; y < part.height_in_blocks; ++y) {
        const JBLOCKARRAY row = info.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&info), blocks[c],
                                                             y, 1, FALSE);
        for (JDIMENSION x = 0; x < part.width_in_blocks; ++x) {
          int64_t sum = 0;
          for (int k = 0; k < DCTSIZE2; ++k)
            sum += std::abs(int64_t{row[0][x][k]} * part.quant_table->quantval[k]);
          if (sum > kMostSum) fits = false;
        }
      }
    }
  }
  jpeg_destroy_decompress(&info);
  return fits;
}

// Both decoders on one file. Nothing with a destructor lives between setjmp and longjmp.
void compare(const uint8_t* data, size_t size) {
  static Picture fast, slow;
  jpeg_decompress_struct info{};
  Errors errors;
  begin(info, errors);
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
        bool same = true;
        for (int y = 0; y < height && same; ++y)
          same = std::memcmp(fast.row(y), slow.row(y), static_cast<size_t>(3 * width)) == 0;
        require(same || !fits_16_bits(data, size), "our decoder's pixels are not libjpeg's");
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
