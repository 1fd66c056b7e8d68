#include "data/jpeg_bits.h"

#include <algorithm>

namespace tessera {
namespace {

// A unit has at most 6 blocks of 64 symbols of 31 bits.
constexpr size_t kBeyond = 6 * 64 * 4 + 64;

// The number that `size` bits stand for.
int extend(int bits, int size) { return size > 0 && bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits; }

// Form of JpegTable::fast. An entry's lowest byte is never 0.
int32_t make_entry(int used, int run, int number) {
  return static_cast<int32_t>(static_cast<uint32_t>(number) << 16) | run << 8 | used;
}

int run_of(uint8_t symbol, bool dc) {
  if (dc) return 0;
  return symbol == 0 ? JpegTable::kEndOfBlock : symbol >> 4;
}

}  // namespace

bool build_jpeg_table(const uint8_t* counts, const uint8_t* symbols, bool dc, JpegTable& t) {
  std::copy_n(symbols, 256, t.symbols.begin());
  t.fast.fill(0);
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
      const size_t begin = code << spare;
      if (size > spare) {
        std::fill_n(t.fast.begin() + static_cast<ptrdiff_t>(begin), 1 << spare, symbol << 16 | length << 8);
        continue;
      }
      for (int rest = 0; rest < 1 << spare; ++rest) {
        t.fast[begin + static_cast<size_t>(rest)] = make_entry(length + size, run_of(symbol, dc),
                                                               extend(rest >> (spare - size), size));
      }
    }
    t.limit[l] = code << (16 - length);
  }
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

int32_t JpegBits::read_long(const JpegTable& t) {
  Cursor& c = cursor_;
  const int32_t known = t.fast[c.bits >> (64 - JpegTable::kBits)];
  size_t length = static_cast<size_t>(known >> 8 & 0xff);
  uint8_t symbol = static_cast<uint8_t>(known >> 16);
  if (length == 0) {
    const uint32_t next = static_cast<uint32_t>(c.bits >> 48);
    length = JpegTable::kBits + 1;
    while (length <= 16 && next >= t.limit[length]) ++length;
    if (length > 16) return JpegTable::kNoCode;
    const int32_t code = static_cast<int32_t>(next >> (16 - length));
    symbol = t.symbols[static_cast<size_t>(t.offset[length] + code)];
  }
  const int size = symbol & 15;
  c.take(static_cast<int>(length));
  const int bits = size == 0 ? 0 : static_cast<int>(c.bits >> (64 - size));
  c.take(size);
  return make_entry(static_cast<int>(length) + size, run_of(symbol, t.is_dc), extend(bits, size));
}

}  // namespace tessera
