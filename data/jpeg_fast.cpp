#include "data/jpeg_fast.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "data/jpeg_bits.h"
#include "data/jpeg_pixels.h"
#include "engine/simd.h"

namespace tessera {
namespace {

#ifdef TESSERA_AVX512

constexpr int kGroup = 4;  // units of the scan (MCUs) whose blocks go through the inverse DCT together

// One component: its samples of one row of units, below the last row of the units before.
struct Plane {
  int h = 1, v = 1;           // blocks of a unit, across and down
  int width = 0, height = 0;  // samples in the whole picture
  const JpegTable* dc = nullptr;
  const JpegTable* ac = nullptr;
  std::array<uint16_t, 64> quant{};
  int dc_value = 0;
  int16_t* blocks = nullptr;  // coefficients of a group: h * v quads
  uint8_t* rows = nullptr;
  ptrdiff_t stride = 0;

  uint8_t* row(int y) const { return rows + (y + 1) * stride; }  // y from -1
};

class FastJpeg {
 public:
  using Tables = std::array<JpegTable, 2 * NUM_HUFF_TBLS>;  // DC, then AC

  // `bits` and `tables` may come from another picture: they keep their memory, and what is the same.
  FastJpeg(const jpeg_decompress_struct& info, Box box, JpegBits& bits, Tables& tables)
      : info_(info), box_(box), bits_(bits), tables_(tables) {}

  bool decode(std::span<const uint8_t> scan, int channels, Picture& out) {
    if (!is_common() || !set_up_tables() || !bits_.open(scan)) return false;
    set_up_planes();
    out.reset(box_.height, box_.width, channels);
    for (int m = first_row_; m <= last_row_; ++m) {
      if (!decode_units(m)) return false;
      emit_rows(m, channels, out);
      for (const Plane& p : planes_)
        std::memcpy(p.row(-1), p.row(8 * p.v - 1), static_cast<size_t>(p.stride));
    }
    return true;
  }

 private:
  bool is_common() const {
    if (info_.progressive_mode || info_.arith_code || info_.data_precision != 8 ||
        info_.num_components != 3 || info_.comps_in_scan != 3 || info_.jpeg_color_space != JCS_YCbCr ||
        info_.image_width < 32) {
      return false;
    }
    const jpeg_component_info* c = info_.comp_info;
    const bool whole = c[0].h_samp_factor == 1 && c[0].v_samp_factor == 1;
    const bool half = c[0].h_samp_factor == 2 && (c[0].v_samp_factor == 1 || c[0].v_samp_factor == 2);
    if (!whole && !half) return false;
    for (int i = 0; i < 3; ++i) {
      // libjpeg has not looked at the numbers of tables yet; they are what the file says.
      if (c[i].quant_tbl_no < 0 || c[i].quant_tbl_no >= NUM_QUANT_TBLS || c[i].dc_tbl_no < 0 ||
          c[i].dc_tbl_no >= NUM_HUFF_TBLS || c[i].ac_tbl_no < 0 || c[i].ac_tbl_no >= NUM_HUFF_TBLS) {
        return false;
      }
      if (info_.cur_comp_info[i] != &c[i] || info_.quant_tbl_ptrs[c[i].quant_tbl_no] == nullptr) return false;
      if (i > 0 && (c[i].h_samp_factor != 1 || c[i].v_samp_factor != 1)) return false;
    }
    return true;
  }

  bool set_up_tables() {
    for (size_t i = 0; i < 3; ++i) {
      const jpeg_component_info& c = info_.comp_info[i];
      const JHUFF_TBL* dc = info_.dc_huff_tbl_ptrs[c.dc_tbl_no];
      const JHUFF_TBL* ac = info_.ac_huff_tbl_ptrs[c.ac_tbl_no];
      if (dc == nullptr || ac == nullptr) return false;
      planes_[i].dc = table(*dc, c.dc_tbl_no, true);
      planes_[i].ac = table(*ac, c.ac_tbl_no, false);
      if (planes_[i].dc == nullptr || planes_[i].ac == nullptr) return false;
      for (size_t k = 0; k < 64; ++k) planes_[i].quant[k] = info_.quant_tbl_ptrs[c.quant_tbl_no]->quantval[k];
    }
    return true;
  }

  // The form of a table that the reader takes, null if it is no code.
  const JpegTable* table(const JHUFF_TBL& from, int number, bool dc) {
    const size_t at = static_cast<size_t>(number + (dc ? 0 : NUM_HUFF_TBLS));
    return build_jpeg_table(from.bits, from.huffval, dc, tables_[at]) ? &tables_[at] : nullptr;
  }

  void set_up_planes() {
    h_ = info_.comp_info[0].h_samp_factor;
    v_ = info_.comp_info[0].v_samp_factor;
    const int width = static_cast<int>(info_.image_width), height = static_cast<int>(info_.image_height);
    units_across_ = (width + 8 * h_ - 1) / (8 * h_);
    // Smooth upsampling looks one sample of colour further on each side.
    first_row_ = std::max(box_.top - 1, 0) / (8 * v_);
    last_row_ = std::min(box_.bottom(), height - 1) / (8 * v_);
    first_column_ = std::max(box_.left - 1, 0) / (8 * h_);
    last_column_ = std::min(box_.right(), width - 1) / (8 * h_);
    const int groups = (last_column_ - first_column_) / kGroup + 1;

    thread_local Bytes memory;
    constexpr size_t kPad = 128;
    size_t bytes = kPad;
    for (size_t i = 0; i < 3; ++i) {
      Plane& p = planes_[i];
      p.h = i == 0 ? h_ : 1;
      p.v = i == 0 ? v_ : 1;
      p.width = i == 0 ? width : (width + h_ - 1) / h_;
      p.height = i == 0 ? height : (height + v_ - 1) / v_;
      p.stride = groups * kGroup * 8 * p.h + static_cast<ptrdiff_t>(kPad);
      bytes += static_cast<size_t>(p.stride) * static_cast<size_t>(8 * p.v + 1);
    }
    uint8_t* at = memory.resize(bytes) + kPad / 2;
    int16_t* blocks = coefficients_.data();
    for (Plane& p : planes_) {
      p.rows = at;
      at += p.stride * (8 * p.v + 1);
      p.blocks = blocks;
      blocks += kQuad * p.h * p.v;
    }
  }

  // Units [.., target) are read and dropped, or passed over where restart markers allow.
  bool skip_to(int64_t target) {
    while (unit_ < target) {
      if (info_.restart_interval > 0) {
        const int64_t interval = info_.restart_interval, part = target / interval;
        if (part > unit_ / interval) {
          unit_ = part * interval;
          if (!bits_.go_to_part(part)) return false;
          for (Plane& p : planes_) p.dc_value = 0;
          continue;
        }
      }
      if (!next_unit<false>(0)) return false;
    }
    return true;
  }

  // Reads one unit; when kept, its blocks go to lane-th place of the group.
  template <bool kKeep> bool next_unit(int lane) {
    if (info_.restart_interval > 0 && unit_ > 0 && unit_ % info_.restart_interval == 0) {
      if (!bits_.go_to_part(unit_ / info_.restart_interval)) return false;
      for (Plane& p : planes_) p.dc_value = 0;
    }
    bool fine = true;
    JpegBits::Cursor cursor = bits_.cursor();
    for (Plane& p : planes_) {
      for (int y = 0; y < p.v; ++y) {
        for (int x = 0; x < p.h; ++x) {
          const int column = lane * p.h + x;
          int16_t* block = p.blocks + (y * p.h + column / 4) * kQuad + column % 4 * 8;
          fine &= JpegBits::read_block<kKeep>(cursor, *p.dc, *p.ac, p.dc_value, block);
        }
      }
    }
    bits_.set_cursor(cursor);
    ++unit_;
    return fine && !bits_.past_end();
  }

  bool decode_units(int m) {
    if (!skip_to(int64_t{m} * units_across_ + first_column_)) return false;
    for (int column = first_column_; column <= last_column_; column += kGroup) {
      const int n = std::min(kGroup, last_column_ - column + 1);
      for (int lane = 0; lane < n; ++lane) {
        if (!next_unit<true>(lane)) return false;
      }
      for (const Plane& p : planes_) {
        const int x = (column - first_column_) * 8 * p.h;
        for (int q = 0; q < p.h * p.v; ++q) {
          inverse_dct_quad(p.blocks + q * kQuad, p.quant.data(), p.row(q / p.h * 8) + x + q % p.h * 32,
                           p.stride);
        }
      }
    }
    return true;
  }

  // Rows of the box that are complete once row m of units is there.
  void emit_rows(int m, int channels, Picture& out) const {
    const int begin = m * 8 * v_, lag = v_ - 1;  // a last row waits for the colour below it
    const bool last = begin + 8 * v_ >= planes_[0].height;
    const int from = std::max(box_.top, begin - lag);
    const int to = std::min(box_.bottom(), last ? planes_[0].height : begin + 8 * v_ - lag);
    const int first = first_column_ * 8 * h_;  // of the planes, in pixels
    for (int y = from; y < to; ++y) {
      RowOfSamples row;
      row.luma = planes_[0].row(y - begin) + (box_.left - first);
      row.h = h_;
      for (size_t i = 1; i < 3; ++i) {
        const Plane& p = planes_[i];
        const int base = m * 8, near = y / v_;
        const int far = v_ == 1 ? near : std::clamp(y % 2 == 0 ? near - 1 : near + 1, 0, p.height - 1);
        row.near[i - 1] = p.row(near - base) - first / h_;
        row.far[i - 1] = p.row(far - base) - first / h_;
      }
      row.colour_width = planes_[1].width;
      row.v = v_;
      samples_to_row(row, box_.left, box_.width, channels, out.row(y - box_.top));
    }
  }

  const jpeg_decompress_struct& info_;
  const Box box_;
  JpegBits& bits_;
  Tables& tables_;
  std::array<Plane, 3> planes_;
  int h_ = 1, v_ = 1;  // samples of luma per sample of colour
  int units_across_ = 0, first_row_ = 0, last_row_ = 0, first_column_ = 0, last_column_ = 0;
  int64_t unit_ = 0;
  alignas(64) std::array<int16_t, 6 * kQuad> coefficients_{};
};

#endif

}  // namespace

#ifdef TESSERA_AVX512
bool decode_jpeg_fast(const jpeg_decompress_struct& info, std::span<const uint8_t> scan, int channels,
                      Box box, Picture& out) {
  if (channels != 1 && channels != 3) return false;
  thread_local JpegBits bits;
  thread_local FastJpeg::Tables tables;
  return FastJpeg(info, box, bits, tables).decode(scan, channels, out);
}
#else
bool decode_jpeg_fast(const jpeg_decompress_struct&, std::span<const uint8_t>, int, Box, Picture&) {
  return false;
}
#endif

}  // namespace tessera
