// TensorBoard files, read back by a reader of our own that knows only the published formats; and the progress
// line.
#include "recipes/trainer/tensorboard.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <vector>

#include "engine/fault.h"
#include "engine/log.h"
#include "recipes/trainer/progress.h"
#include "tests/recipes/scratch.h"

namespace tessera {
namespace {

using test::FaultyDisk;
using test::Scratch;
using test::slurp;

// CRC-32C bit by bit: polynomial 0x1EDC6F41 over reflected bits.
uint32_t slow_crc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (char byte : bytes) {
    for (int i = 0; i < 8; ++i) {
      const bool bit = ((crc & 1) != 0) != ((static_cast<uint8_t>(byte) >> i & 1) != 0);
      crc = crc >> 1 ^ (bit ? 0x82f63b78u : 0);
    }
  }
  return crc ^ 0xffffffff;
}

template <class T> T number_at(const std::string& bytes, size_t at) {
  T x;
  REQUIRE(at + sizeof x <= bytes.size());
  std::memcpy(&x, bytes.data() + at, sizeof x);
  return x;
}

std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    const auto length = number_at<uint64_t>(file, at);
    const auto masked = [](const std::string& s) {
      const uint32_t crc = slow_crc32c(s);
      return static_cast<uint32_t>((crc >> 15 | crc << 17) + 0xa282ead8u);
    };
    CHECK(number_at<uint32_t>(file, at + 8) == masked(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    REQUIRE(records.back().size() == length);
    CHECK(number_at<uint32_t>(file, at + 12 + length) == masked(records.back()));
    at += 12 + length + 4;
  }
  return records;
}

// Fields of a protobuf message: number -> raw value (varints and fixed numbers as 8 bytes).
std::multimap<uint64_t, std::string> message(const std::string& bytes) {
  std::multimap<uint64_t, std::string> fields;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t x = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < bytes.size());
      const auto byte = static_cast<uint8_t>(bytes[at++]);
      x |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return x;
    }
  };
  while (at < bytes.size()) {
    const uint64_t key = varint();
    std::string value;
    if ((key & 7) == 0) {
      const uint64_t x = varint();
      value.assign(reinterpret_cast<const char*>(&x), 8);
    } else {
      const size_t n = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : varint();
      REQUIRE(at + n <= bytes.size());
      value = bytes.substr(at, n);
      at += n;
    }
    fields.emplace(key >> 3, value);
  }
  return fields;
}
std::string field(const std::multimap<uint64_t, std::string>& m, uint64_t number) {
  REQUIRE(m.count(number) == 1);
  return m.find(number)->second;
}
int64_t integer(const std::multimap<uint64_t, std::string>& m, uint64_t number) {
  return number_at<int64_t>(field(m, number), 0);
}

std::string only_file(const std::string& folder) {
  std::string found;
  for (const auto& e : std::filesystem::directory_iterator(folder)) {
    CHECK(found.empty());
    found = e.path().string();
  }
  CHECK(std::filesystem::path(found).filename().string().starts_with("events.out.tfevents."));
  return found;
}

}  // namespace

TEST_CASE("recipes/tensorboard: CRC-32C of RFC 3720, B.4") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(slow_crc32c("123456789") == 0xe3069283u);
}

TEST_CASE("recipes/tensorboard: scalars and pictures read back") {
  const Scratch run;
  const std::string png(300, '\x9c');
  {
    EventWriter writer(run.path(), 0);
    writer.scalar("train/loss", 1, 0.75);
    writer.scalar("lr", 1234567890123, -1.5e-4);
    writer.image("vis", 3, 32, 48, 3, png);
  }
  const auto records = records_of(slurp(only_file(run.path())));
  REQUIRE(records.size() == 4);
  const auto first = message(records[0]);
  CHECK(field(first, 3) == "brain.Event:2");
  CHECK(number_at<double>(field(first, 1), 0) > 1.7e9);

  const auto loss = message(records[1]);
  CHECK(integer(loss, 2) == 1);
  const auto value = message(field(message(field(loss, 5)), 1));
  CHECK(field(value, 1) == "train/loss");
  CHECK(number_at<float>(field(value, 2), 0) == 0.75f);

  const auto rate = message(records[2]);
  CHECK(integer(rate, 2) == 1234567890123);
  CHECK(number_at<float>(field(message(field(message(field(rate, 5)), 1)), 2), 0) == -1.5e-4f);

  const auto vis = message(field(message(field(message(records[3]), 5)), 1));
  const auto image = message(field(vis, 4));
  CHECK(field(vis, 1) == "vis");
  CHECK(integer(image, 1) == 32);
  CHECK(integer(image, 2) == 48);
  CHECK(integer(image, 3) == 3);
  CHECK(field(image, 4) == png);
}

TEST_CASE("recipes/tensorboard: a resumed run tells readers to forget later steps") {
  const Scratch run;
  EventWriter(run.path(), 40).scalar("loss", 41, 1);
  const auto records = records_of(slurp(only_file(run.path())));
  REQUIRE(records.size() == 3);
  const auto start = message(records[1]);
  CHECK(integer(start, 2) == 41);
  CHECK(integer(message(field(start, 7)), 1) == 1);
}

// Readers take files in the order of their names; a clock set back, or a restart within a second, is no
// excuse.
TEST_CASE("recipes/tensorboard: a restart before the first checkpoint comes last, and forgets") {
  const Scratch run;
  test::spill(run / "events.out.tfevents.4000000000.999", "");
  EventWriter(run.path(), 0).scalar("loss", 1, 1);
  std::vector<std::string> names;
  for (const Disk::Entry& e : real_disk().list(run.path())) names.push_back(e.name);
  REQUIRE(names.size() == 2);
  CHECK(names[1].starts_with("events.out.tfevents.4000000001."));
  const auto records = records_of(slurp(run / names[1]));
  REQUIRE(records.size() == 3);
  CHECK(integer(message(records[1]), 2) == 1);
  CHECK(integer(message(field(message(records[1]), 7)), 1) == 1);
}

TEST_CASE("recipes/tensorboard: a disk that refuses once costs one record, and leaves whole ones") {
  log::set_level(log::Level::error);
  for (const char* fault :
       {"create:1=eio", "write:1=short", "write:2=short", "write:5=short", "write:9=short"}) {
    const Scratch run;
    {
      const fault::Scope scope(fault);
      EventWriter writer(run.path(), 0);
      for (int64_t s = 1; s < 9; ++s) writer.scalar("loss", s, 1);
      CHECK(scope.fired() == 1);
    }
    const bool at_begin = std::string(fault) == "create:1=eio" || std::string(fault) == "write:1=short";
    const auto records = records_of(slurp(only_file(run.path())));
    REQUIRE(records.size() >= (at_begin ? 9u : 8u));
    CHECK(field(message(records[0]), 3) == "brain.Event:2");
    CHECK(integer(message(records.back()), 2) == (std::string(fault) == "write:9=short" ? 7 : 8));
  }
  log::set_level(log::Level::info);
}

TEST_CASE("recipes/progress: one line, and a bar that fits") {
  StepReport r{.step = 120,
               .steps = 9360,
               .epoch = 0.384,
               .loss = 0.90214,
               .lr = 4.6e-5,
               .grad_norm = 0.3123,
               .images_per_second = 310.4,
               .eta_seconds = 3723,
               .memory_bytes = 3'140'000'000,
               .data_wait = 0.017};
  CHECK(progress_line(r) ==
        "step 120/9360  epoch 0.38  loss 0.9021  lr 4.6e-05  grad-norm 0.312  310 img/s  eta 1:02:03  mem "
        "3.1 GB  data_wait 2%");
  r.eta_seconds = 2 * 86400 + 3 * 3600 + 4;
  r.memory_bytes = 250'000'000;
  CHECK(progress_line(r).find("eta 2d 3:00:04  mem 250 MB") != std::string::npos);
  r.step = 4680;
  CHECK(progress_bar(r, 60, false).starts_with("[##########..........] step 4680/9360  epoch"));
  for (size_t width : {10, 24, 25, 60, 79, 200})
    CHECK(progress_bar(r, width, false).size() < std::max<size_t>(width, 25));
  CHECK(progress_bar(r, 60, false).find('\x1b') == std::string::npos);
  CHECK(progress_bar(r, 60, true).find('\x1b') != std::string::npos);
}

}  // namespace tessera
