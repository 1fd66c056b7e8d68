// Events in protobuf wire format. Field numbers are those of TensorFlow's event.proto and summary.proto.
#include "recipes/trainer/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>

#include "engine/check.h"
#include "engine/log.h"

namespace tessera {
namespace {

enum Event : int { wall_time = 1, event_step = 2, file_version = 3, summary = 5, session_log = 7 };
enum Summary : int { summary_value = 1 };
enum Value : int { value_tag = 1, simple_value = 2, value_image = 4 };
enum Image : int { image_height = 1, image_width = 2, colorspace = 3, encoded_image = 4 };
enum SessionLog : int { status = 1 };
constexpr uint64_t kSessionStart = 1;

template <class T> std::string raw(T x) { return std::string(reinterpret_cast<const char*>(&x), sizeof x); }

std::string varint(uint64_t x) {
  std::string out;
  for (; x >= 0x80; x >>= 7) out += static_cast<char>(x | 0x80);
  return out + static_cast<char>(x);
}

// A field is its number and wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes), then its
// value.
std::string key(int field, int wire) { return varint(static_cast<uint64_t>(field << 3 | wire)); }
std::string integer(int field, int64_t x) { return key(field, 0) + varint(static_cast<uint64_t>(x)); }
std::string bytes(int field, std::string_view x) { return key(field, 2) + varint(x.size()) + std::string(x); }

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;  // Castagnoli, reflected
    table[i] = c;
  }
  return table;
}

// TFRecord stores sums rotated and shifted, since sums of data that holds sums are weak.
uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xa282ead8u; }

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

constexpr std::string_view kPrefix = "events.out.tfevents.";

// The latest second in the names of a run's event files; 0 when there are none.
int64_t latest_second(Disk& disk, const std::string& run) {
  int64_t latest = 0;
  for (const Disk::Entry& e : disk.list(run)) {
    int64_t second = 0;
    if (!e.name.starts_with(kPrefix)) continue;
    std::from_chars(e.name.data() + kPrefix.size(), e.name.data() + e.name.size(), second);
    latest = std::max(latest, second);
  }
  return latest;
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  static constexpr auto kTable = crc_table();
  uint32_t c = ~0u;
  for (char byte : data) c = kTable[(c ^ static_cast<uint8_t>(byte)) & 0xff] ^ c >> 8;
  return ~c;
}

EventWriter::EventWriter(const std::string& run, int64_t resumed_step, Disk& disk)
    : disk_(disk), run_(run), resumed_step_(resumed_step) {
  write_event(0, "");
}

// Opens the file and writes what stands first in it.
void EventWriter::begin() {
  if (path_.empty()) {
    // Readers take the files in the order of their names: a restart within a second, or after the clock was
    // set back, must still come last.
    const int64_t before = latest_second(disk_, run_);
    const int64_t second = std::max<int64_t>(std::time(nullptr), before + 1);
    continues_ = resumed_step_ > 0 || before > 0;
    path_ = fmt::format("{}/{}{}.{}", run_, kPrefix, second, getpid());
  }
  file_ = disk_.append(path_);
  try {
    write_record(0, bytes(Event::file_version, "brain.Event:2"));
    if (continues_) {
      write_record(resumed_step_ + 1, bytes(Event::session_log, integer(SessionLog::status, kSessionStart)));
    }
  } catch (const Error&) {
    file_.reset();  // to begin again
    throw;
  }
}

// A record that could not be written leaves nothing behind (disk.h), so the next one may follow.
void EventWriter::write_record(int64_t step, std::string_view body) {
  std::string event = key(Event::wall_time, 1) + raw(now());
  if (step != 0) event += integer(Event::event_step, step);
  event += body;
  const std::string length = raw(uint64_t{event.size()});
  const std::string record = length + raw(masked_crc(length)) + event + raw(masked_crc(event));
  file_->write(record.data(), record.size());
}

// An empty body only begins the file.
void EventWriter::write_event(int64_t step, std::string_view body) {
  try {
    if (!file_) begin();
    if (!body.empty()) write_record(step, body);
  } catch (const Error& e) {
    log::warn_once("tensorboard", fmt::format("{}; training goes on, TensorBoard misses this", e.what()));
  }
}

void EventWriter::scalar(std::string_view tag, int64_t step, double value) {
  const std::string number = key(Value::simple_value, 5) + raw(static_cast<float>(value));
  const std::string entry = bytes(Summary::summary_value, bytes(Value::value_tag, tag) + number);
  write_event(step, bytes(Event::summary, entry));
}

void EventWriter::image(std::string_view tag, int64_t step, int64_t height, int64_t width, int channels,
                        std::string_view png) {
  const std::string picture = integer(Image::image_height, height) + integer(Image::image_width, width) +
                              integer(Image::colorspace, channels) + bytes(Image::encoded_image, png);
  const std::string entry = bytes(Summary::summary_value,
                                  bytes(Value::value_tag, tag) + bytes(Value::value_image, picture));
  write_event(step, bytes(Event::summary, entry));
}

}  // namespace tessera
