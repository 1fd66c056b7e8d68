#include "data/jpeg_bits.h"

#include <algorithm>

namespace tessera {
namespace {

// A unit has at most 6 blocks of 64 symbols of 31 bits.
constexpr size_t kBeyond = 6 * 64 * 4 + 64;

// The number that `size` bits stand for.
int extend(int bits, int size) { return size > 0 && bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits; }

// The entry of a symbol whose number is to be added; the code has `length` bits.
JpegTable::Entry make_entry(int length, uint8_t symbol, bool dc) {
  JpegTable::Entry e;
  e.size = symbol & 15;
  e.used = e.first_used = static_cast<uint8_t>(length + e.size);
  const int step = dc ? 0 : symbol == 0 ? JpegTable::kEndOfBlock : symbol >> 4;
  e.step = e.last = static_cast<uint8_t>(step);
  return e;
}

// Where the bits after an entry's symbol decide the next one, that is its second.
void add_second_symbols(JpegTable& t) {
  const std::array<JpegTable::Entry, 1 << JpegTable::kBits> alone = t.fast;
  for (size_t bits = 0; bits < alone.size(); ++bits) {
    JpegTable::Entry& e = t.fast[bits];
    if (e.used == 0 || e.size > 0 || e.step == JpegTable::kEndOfBlock) continue;
    const JpegTable::Entry& next = alone[bits << e.used & (alone.size() - 1)];
    if (next.used == 0 || next.size > 0 || e.used + next.used > JpegTable::kBits) continue;
    if (next.number != static_cast<int8_t>(next.number)) continue;
    e.used = static_cast<uint8_t>(e.used + next.used);
    e.last = static_cast<uint8_t>(e.step + 1 + next.step);
    e.second = static_cast<int8_t>(next.number);
  }
}

}  // namespace

bool build_jpeg_table(const uint8_t* counts, const uint8_t* symbols, bool dc, JpegTable& t) {
  if (t.is_built && t.is_dc == dc && std::equal(t.counts.begin(), t.counts.end(), counts) &&
      std::equal(t.symbols.begin(), t.symbols.end(), symbols)) {
    return true;
  }
  t.is_built = false;
  std::copy_n(counts, 17, t.counts.begin());
  std::copy_n(symbols, 256, t.symbols.begin());
  t.fast.fill({.size = 1});
  t.is_dc = dc;
  uint32_t code = 0;
  int at = 0;
  for (int length = 1; length <= 16; ++length, code <<= 1) {
    const size_t l = static_cast<size_t>(length);
    t.offset[l] = at - static_cast<int32_t>(code);
    for (int i = 0; i < counts[length]; ++i, ++code, ++at) {
      if (at >= 256 || code >= 1u << length) return false;
      const uint8_t symbol = symbols[at];
      const int size = symbol & 15;
      if (dc ? symbol > 15 : size == 0 && symbol != 0 && symbol != 0xf0) return false;
      if (length > JpegTable::kBits) continue;
      const int spare = JpegTable::kBits - length;
      JpegTable::Entry e = make_entry(length, symbol, dc);
      const bool fits = size <= spare;
      if (fits) e.size = 0;
      for (int rest = 0; rest < 1 << spare; ++rest) {
        if (fits) e.number = static_cast<int16_t>(extend(rest >> (spare - size), size));
        t.fast[(code << spare) + static_cast<size_t>(rest)] = e;
      }
    }
    t.limit[l] = code << (16 - length);
  }
  if (!dc) add_second_symbols(t);
  t.is_built = true;
  return true;
}

bool JpegBits::open(std::span<const uint8_t> scan) {
  uint8_t* to = bytes_.resize(scan.size() + kBeyond);
  const uint8_t* from = scan.data();
  const uint8_t* const end = from + scan.size();
  parts_.assign(1, 0);
  for (;;) {
    const void* found = std::memchr(from, 0xff, static_cast<size_t>(end - from));
    if (found == nullptr) return false;
    const uint8_t* mark = static_cast<const uint8_t*>(found);
    if (mark + 1 >= end) return false;
    const size_t n = static_cast<size_t>(mark - from) + (mark[1] == 0 ? 1 : 0);
    std::memcpy(to, from, n);
    to += n;
    from = mark + 2;
    if (mark[1] == 0) continue;
    parts_.push_back(static_cast<size_t>(to - bytes_.data()));
    if (mark[1] == 0xd9) break;
    if (mark[1] != 0xd0 + (parts_.size() - 2) % 8) return false;
  }
  std::memset(to, 0, kBeyond);
  return go_to_part(0);
}

bool JpegBits::go_to_part(int64_t part) {
  if (part + 1 >= std::ssize(parts_)) return false;
  cursor_ = {bytes_.data() + parts_[static_cast<size_t>(part)]};
  end_ = bytes_.data() + parts_[static_cast<size_t>(part) + 1];
  return true;
}

JpegTable::Entry JpegBits::look_long(Cursor c, const JpegTable& t) {
  const uint32_t next = static_cast<uint32_t>(c.bits >> 48);
  size_t length = JpegTable::kBits + 1;
  while (length <= 16 && next >= t.limit[length]) ++length;
  if (length > 16) {
    JpegTable::Entry none;
    none.step = none.last = JpegTable::kNoCode;
    return none;
  }
  const int32_t code = static_cast<int32_t>(next >> (16 - length));
  return make_entry(static_cast<int>(length), t.symbols[static_cast<size_t>(t.offset[length] + code)],
                    t.is_dc);
}

}  // namespace tessera
