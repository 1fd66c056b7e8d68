#include "recipes/parity/key.h"

#include <charconv>

#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

[[noreturn]] void refuse(const std::string& text, const std::string& prefix) {
  throw UnknownOption("parity: \"" + text + "\" in a key is not known, expected " +
                      (prefix.empty() ? "numbers" : prefix + " and numbers"));
}

}  // namespace

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t at = text.find(separator); at != std::string::npos; at = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<int64_t> numbers_after(const std::string& text, const std::string& prefix,
                                   const std::string& separator) {
  if (!text.starts_with(prefix)) refuse(text, prefix);
  std::vector<int64_t> all;
  for (const std::string& part : split(text.substr(prefix.size()), separator)) {
    int64_t n = 0;
    const char* end = part.data() + part.size();
    if (part.empty() || std::from_chars(part.data(), end, n).ptr != end || n < 0) refuse(text, prefix);
    all.push_back(n);
  }
  return all;
}

int64_t number_after(const std::string& text, const std::string& prefix) {
  const std::vector<int64_t> all = numbers_after(text, prefix);
  if (all.size() != 1) refuse(text, prefix);
  return all[0];
}

}  // namespace tessera
