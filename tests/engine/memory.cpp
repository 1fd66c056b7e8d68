// The pool's limits, and the record of its events.
#include "engine/memory.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/require.h"
#include "engine/tensor.h"

namespace tessera {

TEST_CASE("engine/memory: sizes in words") {
  CHECK(memory::parse_bytes("4096", "x") == 4096);
  CHECK(memory::parse_bytes("0", "x") == 0);
  CHECK(memory::parse_bytes("3K", "x") == 3 << 10);
  CHECK(memory::parse_bytes("512M", "x") == int64_t{512} << 20);
  CHECK(memory::parse_bytes("1.5G", "x") == int64_t{3} << 29);
  CHECK(memory::parse_bytes("2T", "x") == int64_t{2} << 40);
  for (const char* bad : {"", "G", "4X", "4GB", "-1", "nan", "inf", "1e30", "4 G", "four"}) {
    CAPTURE(bad);
    try {
      memory::parse_bytes(bad, "TESSERA_MEMORY_LIMIT");
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::config);
      CHECK(std::string(e.what()).find("TESSERA_MEMORY_LIMIT") != std::string::npos);
    }
  }
  CHECK(memory::machine_bytes() > 1 << 20);
}

TEST_CASE("engine/memory: a limit is an error that says what was asked for, what is held and the limit") {
  const Tensor held({1 << 20}, DType::u8, Device::cpu(), "held by the test");
  const int64_t before = memory::limit();
  memory::set_limit(memory::usage().reserved);
  try {
    const Tensor t({int64_t{1} << 33}, DType::u8, Device::cpu(), "too much");
    FAIL("a tensor beyond the limit");
  } catch (const Error& e) {
    const std::string text = e.what();
    CHECK(e.kind() == ErrorKind::memory);
    for (const char* part : {"8192.0 MB for too much", "the limit of ", "in use ", "reserved ", "largest: "})
      CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  }
  memory::set_limit(before);
}

TEST_CASE("engine/memory: a recorder writes down what is taken and given back, in order") {
  const memory::Recorder recorder;
  {
    const Tensor a({100}, DType::f32, Device::cpu(), "first");
    const Tensor b({0}, DType::f32, Device::cpu(), "nothing");
  }
  const std::vector<memory::Event> e = recorder.events();
  REQUIRE(e.size() == 4);
  CHECK(e[0].bytes == 400);
  CHECK(std::string(e[0].label) == "first");
  CHECK(e[1].bytes > 0);  // 0 would mean given back
  CHECK((e[2].bytes == 0 && e[2].block == e[1].block));
  CHECK((e[3].bytes == 0 && e[3].block == e[0].block));
  CHECK(memory::block_bytes(400) == 448);
}

}  // namespace tessera
