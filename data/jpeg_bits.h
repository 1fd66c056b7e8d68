// Entropy-coded data of a baseline JPEG: Huffman tables whose entries give a symbol and its number at once,
// and the reader of blocks.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "data/picture.h"

namespace tessera {

constexpr int kQuad = 256;  // coefficients of four blocks: element (row, block, column), row slowest

struct JpegTable {
  static constexpr int kBits = 10;
  static constexpr int kEndOfBlock = 100;  // the step that stands for it
  static constexpr int kNoCode = 80;       // a step that leads out of the block, which is damage

  // What the next kBits bits begin with: a symbol and its number, and where they fit (not for DC) a second;
  // else it is as the first. A number that does not fit is 0 here, and the bits that follow the code are to
  // be added. Where the code does not fit, `used` is 0 and `size` is not.
  struct Entry {
    uint8_t used = 0;        // bits of all
    uint8_t first_used = 0;  // of the first symbol and its number
    uint8_t size = 0;        // of them, those that are to be added
    uint8_t step = 0;        // coefficients to pass over before the first one's
    uint8_t last = 0;        // and before the second one's
    int8_t second = 0;
    int16_t number = 0;
  };
  std::array<Entry, 1 << kBits> fast;
  // For longer codes: the least left-aligned 17-bit number beyond codes of each length, and where
  // those codes' symbols stand.
  std::array<uint32_t, 18> limit;
  std::array<int32_t, 18> offset;
  // What it was made of.
  std::array<uint8_t, 17> counts;
  std::array<uint8_t, 256> symbols;
  bool is_dc = false, is_built = false;
};

// `counts` [17] (of codes of 1 to 16 bits, from element 1), `symbols` [256]. False when they are no code. A
// table that was made of the same stays as it is: most files have those of the standard's example.
bool build_jpeg_table(const uint8_t* counts, const uint8_t* symbols, bool dc, JpegTable& table);

class JpegBits {
 public:
  // Takes a scan that ends in the picture's end marker. Copies it without stuffed bytes, so that the reader
  // need not look for them. False when another marker than a restart in order comes before.
  bool open(std::span<const uint8_t> scan);

  // Goes to the data after the `part`-th restart marker. False when there is none.
  bool go_to_part(int64_t part);

  // True once more bits were taken than the part has. Memory is safe for one unit of the scan beyond.
  bool past_end() const { return cursor_.at - (cursor_.count >> 3) > end_; }

  // The next bits of the data.
  struct Cursor {
    const uint8_t* at = nullptr;
    uint64_t bits = 0;  // from the top
    int count = 0;      // how many are valid

    void refill() {  // to at least 56: a symbol has at most 31, four entries of a table 40
      uint64_t next;
      std::memcpy(&next, at, 8);
      bits |= __builtin_bswap64(next) >> count;
      at += (63 - count) >> 3;
      count |= 56;
    }
    void take(int n) {
      bits <<= n & 63;
      count -= n;
    }
    // The number of an entry's first symbol; no branch, for which way it goes could not be foretold.
    int16_t number_of(const JpegTable::Entry& e) const {
      const uint64_t rest = bits << (e.first_used - e.size);
      const int sign = static_cast<int>(static_cast<int64_t>(rest) >> 63);  // -1 for positive numbers
      const int added = static_cast<int>(rest >> 1 >> (63 - e.size)) - (~sign & ((1 << e.size) - 1));
      return static_cast<int16_t>(e.number + added);
    }
    const JpegTable::Entry& look_up(const JpegTable& table) const {
      return table.fast[bits >> (64 - JpegTable::kBits)];
    }
  };
  // A unit of the scan takes it out and puts it back.
  Cursor cursor() const { return cursor_; }
  void set_cursor(Cursor c) { cursor_ = c; }

  // One block; `dc` is the last one's and becomes this one's. Kept coefficients go to block[row * 32 +
  // column]; block must be zero. False when the data is damaged. (Not inlined: it needs the registers.)
  template <bool kKeep>
  [[gnu::noinline]] static bool read_block(Cursor& cursor, const JpegTable& dc_table,
                                           const JpegTable& ac_table, int& dc, int16_t* block) {
    Cursor c = cursor;
    c.refill();
    const JpegTable::Entry* e = &c.look_up(dc_table);
    JpegTable::Entry other;  // where `e` points when it is not one of a table as it is
    if (e->used == 0) [[unlikely]] {
      other = look_long(c, dc_table);
      e = &other;
    }
    dc += c.number_of(*e);
    c.take(e->used);
    if (e->step == JpegTable::kNoCode || dc != static_cast<int16_t>(dc)) return false;
    if (kKeep) block[0] = static_cast<int16_t>(dc);
    size_t k = 1;  // in zigzag order
    uint64_t before = 0;
    do {
      c.refill();
#pragma GCC unroll 4
      for (int i = 0; i < 4 && k < 64; ++i) {
        e = &c.look_up(ac_table);
        if (e->size > 0) [[unlikely]] {
          c.refill();
          other = e->used > 0 ? *e : look_long(c, ac_table);
          e = &other;
          other.number = c.number_of(other);
          c.take(other.used);
          c.refill();  // for those of the four that follow
        } else {
          before = c.bits;
          c.take(e->used);
        }
        if (kKeep) {
          block[kPlace[k + e->last]] = e->second;
          block[kPlace[k + e->step]] = e->number;  // later: it counts where the places are the same
        }
        k += e->last + size_t{1};
      }
    } while (k < 64);
    const size_t after_first = k - e->last + e->step;
    if (after_first >= 64 && e->last != e->step) {  // the second symbol is not this block's
      c.bits = before << e->first_used;
      c.count += e->used - e->first_used;
      k = after_first;
    }
    cursor = c;
    return k == 64 || k > JpegTable::kEndOfBlock;
  }

 private:
  // Where coefficient k lies. Places 64.. are an end of block (whose zero may go to the last coefficient,
  // zero then) or damage.
  static constexpr std::array<uint16_t, 192> kPlace = [] {
    std::array<uint16_t, 192> place{};
    int row = 0, column = 0;
    for (size_t k = 0; k < 64; ++k) {
      place[k] = static_cast<uint16_t>(row * 32 + column);
      if ((row + column) % 2 == 0) {
        if (column == 7)
          ++row;
        else if (row == 0)
          ++column;
        else
          --row, ++column;
      } else {
        if (row == 7)
          ++column;
        else if (column == 0)
          ++row;
        else
          ++row, --column;
      }
    }
    for (size_t k = 64; k < 192; ++k) place[k] = place[63];
    return place;
  }();

  // A symbol whose code the table does not have, still to be taken.
  static JpegTable::Entry look_long(Cursor c, const JpegTable& table);

  Bytes bytes_;
  std::vector<size_t> parts_;     // where in bytes_ each begins; and the end
  const uint8_t* end_ = nullptr;  // of the part
  Cursor cursor_;
};

}  // namespace tessera
