// Reads TensorBoard event files as TensorBoard does: files in order of names, a restart purging later steps.
#include <cstring>
#include <optional>

#include "engine/check.h"
#include "recipes/trainer/disk.h"
#include "recipes/trainer/tensorboard.h"
#include "tests/campaign/run.h"

namespace tessera::campaign {
namespace {

template <class T> T number_at(std::string_view bytes, size_t at) {
  T x{};
  if (at + sizeof x > bytes.size()) fail(ErrorKind::data, "an event message ends too early");
  std::memcpy(&x, bytes.data() + at, sizeof x);
  return x;
}

// Fields of a protobuf message: number -> raw value (varints and fixed numbers as 8 and 4 bytes).
std::multimap<uint64_t, std::string> message(std::string_view bytes) {
  std::multimap<uint64_t, std::string> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = number_at<uint8_t>(bytes, at++);
      x |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return x;
  };
  while (at < bytes.size()) {
    const uint64_t key = varint(), wire = key & 7;
    std::string value;
    if (wire == 0) {
      const uint64_t x = varint();
      value.assign(reinterpret_cast<const char*>(&x), 8);
    } else {
      const size_t n = wire == 1 ? 8 : wire == 5 ? 4 : varint();
      if (n > bytes.size() - at) fail(ErrorKind::data, "an event message ends too early");
      value = bytes.substr(at, n);
      at += n;
    }
    fields.emplace(key >> 3, value);
  }
  return fields;
}

std::optional<std::string> field(const std::multimap<uint64_t, std::string>& m, uint64_t number) {
  const auto it = m.find(number);
  return it == m.end() ? std::nullopt : std::optional(it->second);
}

uint32_t masked(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// The whole records of a file. A kill may tear the last one, and no other.
std::vector<std::string> records(const std::string& path, bool may_be_torn) {
  const std::string file = read_text(path, size_t{1} << 30);
  std::vector<std::string> out;
  for (size_t at = 0; at < file.size();) {
    const size_t left = file.size() - at;
    const uint64_t length = left >= 12 ? number_at<uint64_t>(file, at) : UINT64_MAX - 16;
    if (length + 16 > left) {
      if (may_be_torn) break;
      fail(ErrorKind::data, "{}: torn at byte {}", path, at);
    }
    const std::string_view head(file.data() + at, 8), body(file.data() + at + 12, length);
    if (number_at<uint32_t>(file, at + 8) != masked(head) ||
        number_at<uint32_t>(file, at + 12 + length) != masked(body))
      fail(ErrorKind::data, "{}: a wrong sum at byte {}", path, at);
    out.emplace_back(body);
    at += length + 16;
  }
  return out;
}

constexpr uint64_t kStep = 2, kSummary = 5, kSessionLog = 7;         // of Event
constexpr uint64_t kValue = 1, kTag = 1, kSimple = 2, kStarted = 1;  // of Summary, Value, SessionLog.status

void purge(Curves& curves, int64_t from) {
  for (auto& [tag, curve] : curves) curve.erase(curve.lower_bound(from), curve.end());
}

void add(Curves& curves, const std::string& record, const std::string& path) {
  const auto event = message(record);
  const std::optional<std::string> number = field(event, kStep), summary = field(event, kSummary),
                                   session = field(event, kSessionLog);
  const int64_t step = number ? number_at<int64_t>(*number, 0) : 0;
  if (session) {
    const std::optional<std::string> status = field(message(*session), 1);
    if (status && number_at<uint64_t>(*status, 0) == kStarted) purge(curves, step);
  }
  if (!summary) return;
  const auto value = message(field(message(*summary), kValue).value_or(""));
  const std::string tag = field(value, kTag).value_or("");
  const std::optional<std::string> simple = field(value, kSimple);
  if (!curves[tag].emplace(step, simple ? number_at<float>(*simple, 0) : 0.0f).second)
    fail(ErrorKind::data, "{}: {} of step {} a second time", path, tag, step);
}

}  // namespace

Curves read_events(const std::string& run) {
  std::vector<std::string> files;
  for (const Disk::Entry& e : real_disk().list(run)) {
    if (e.name.starts_with("events.out.tfevents.")) files.push_back(run + "/" + e.name);
  }
  Curves curves;
  for (const std::string& path : files) {
    for (const std::string& record : records(path, &path != &files.back())) add(curves, record, path);
  }
  return curves;
}

}  // namespace tessera::campaign
