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
  static constexpr int kBits = 11;
  static constexpr int kEndOfBlock = 100;      // the run that stands for it
  static constexpr int32_t kNoCode = 80 << 8;  // an entry that leads out of the block, which is damage
  // By the next kBits bits: bits used | run << 8 | number << 16; where the number does not fit, 0 | bits of
  // the code << 8 | symbol << 16; where the code does not, 0.
  std::array<int32_t, 1 << kBits> fast;
  // For longer codes: the least left-aligned 17-bit number beyond codes of each length, and where
  // those codes' symbols stand.
  std::array<uint32_t, 18> limit;
  std::array<int32_t, 18> offset;
  std::array<uint8_t, 256> symbols;
  bool is_dc = false;
};

// `counts` [17] (of codes of 1 to 16 bits, from element 1), `symbols` [256]. False when they are no code.
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

  // One block; `dc` is the last one's and becomes this one's. Kept coefficients go to block[row * 32 +
  // column]; block must be zero. False when the data is damaged.
  template <bool kKeep>
  bool read_block(const JpegTable& dc_table, const JpegTable& ac_table, int& dc, int16_t* block) {
    Cursor c = cursor_;  // a copy: stores to `block` might change the member, for all the compiler knows
    int32_t entry = next_symbol(c, dc_table);
    dc += entry >> 16;
    if (entry == JpegTable::kNoCode || dc != static_cast<int16_t>(dc)) return false;
    if (kKeep) block[0] = static_cast<int16_t>(dc);
    int k = 1;  // in zigzag order
    do {
      entry = next_symbol(c, ac_table);
      k += entry >> 8 & 0xff;
      if (kKeep) block[kPlace[static_cast<size_t>(k)]] = static_cast<int16_t>(entry >> 16);
      ++k;
    } while (k < 64);
    cursor_ = c;
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

  // The next bits of the data.
  struct Cursor {
    const uint8_t* at = nullptr;
    uint64_t bits = 0;  // from the top
    int count = 0;      // how many are valid

    void refill() {  // to at least 56
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
  };

  // In the form of JpegTable::fast; JpegTable::kNoCode when the bits are none.
  int32_t next_symbol(Cursor& c, const JpegTable& table) {
    c.refill();
    const int32_t entry = table.fast[c.bits >> (64 - JpegTable::kBits)];
    if ((entry & 0xff) == 0) [[unlikely]] {
      cursor_ = c;
      const int32_t slow = read_long(table);
      c = cursor_;
      return slow;
    }
    c.take(entry & 0xff);
    return entry;
  }
  // A symbol that the table does not give at once, from cursor_.
  int32_t read_long(const JpegTable& table);

  Bytes bytes_;
  std::vector<size_t> parts_;     // where in bytes_ each begins; and the end
  const uint8_t* end_ = nullptr;  // of the part
  Cursor cursor_;
};

}  // namespace tessera
