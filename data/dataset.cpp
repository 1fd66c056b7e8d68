#include "data/dataset.h"

#include <charconv>

#include "data/idx.h"
#include "data/image_files.h"
#include "data/synthetic.h"
#include "engine/check.h"

namespace tessera {
namespace {

// Reads a positive number at the start of `text` and cuts it off; false when there is none.
bool take_number(std::string_view& text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 1) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

std::unique_ptr<Dataset> open_synthetic(const std::string& what) {
  std::string_view text = what;
  int64_t n = 0, h = 0, w = 0, c = 0;
  const bool read = take_number(text, n) && take(text, ',') && take_number(text, h) && take(text, 'x') &&
                    take_number(text, w) && take(text, 'x') && take_number(text, c) && text.empty();
  const bool sane = n <= int64_t{1} << 40 && h <= 65'500 && w <= 65'500 && (c == 1 || c == 3 || c == 4);
  if (!read || !sane) {
    fail(ErrorKind::config,
         "data source synthetic:{}: wanted synthetic:N,HxWxC with C 1, 3 or 4, e.g. synthetic:1000,224x224x3",
         what);
  }
  return std::make_unique<Synthetic>(n, static_cast<int>(h), static_cast<int>(w), static_cast<int>(c));
}

}  // namespace

void Dataset::check_index(int64_t i) const {
  TS_CHECK(i >= 0 && i < size(), "dataset: sample {} of {}", i, size());
}

std::unique_ptr<Dataset> open_dataset(const std::string& source, const DecodeLimits& limits) {
  const size_t colon = source.find(':');
  const std::string kind = source.substr(0, colon);
  const std::string what = colon == std::string::npos ? "" : source.substr(colon + 1);
  if (!what.empty()) {
    if (kind == "folder") return open_folder(what, limits);
    if (kind == "flat") return open_flat(what, limits);
    if (kind == "list") return open_list(what, limits);
    if (kind == "synthetic") return open_synthetic(what);
    if (kind == "idx") {
      const size_t comma = what.find(',');
      return open_idx(what.substr(0, comma), comma == std::string::npos ? "" : what.substr(comma + 1));
    }
  }
  fail(ErrorKind::config,
       "data source \"{}\": write folder:DIR, flat:DIR, list:FILE, idx:IMAGES[,LABELS] or synthetic:N,HxWxC",
       source);
}

}  // namespace tessera
