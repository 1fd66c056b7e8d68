// safetensors: round trips, files of others, and hostile headers.
#include "engine/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/check.h"

namespace tessera {
namespace {

// A file of `header` and `data_bytes` bytes of data, as the format lays it out.
std::string file_of(const std::string& header, size_t data_bytes) {
  const uint64_t n = header.size();
  return std::string(reinterpret_cast<const char*>(&n), 8) + header + std::string(data_bytes, '\1');
}

SafeTensors parse(const std::string& bytes) {
  return parse_safetensors(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), "x.safetensors");
}

// The text of the Error(checkpoint) that `bytes` must cause.
std::string complaint(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::checkpoint);
    return e.what();
  }
  return "accepted";
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

struct Hostile {
  const char* what;
  std::string bytes;
  const char* says;  // part of the message
};

std::string nested(int depth) {
  std::string s = "{\"a\":";
  for (int i = 0; i < depth; ++i) s += "[";
  return s;
}

using Files = std::vector<Hostile>;

const std::string good = entry("a", "F32", "[2]", "[0,8]");

// A file with one entry, or a list of them.
std::string one(const std::string& entries, size_t data = 8) { return file_of("{" + entries + "}", data); }

// More entries than any model has.
std::string many_entries() {
  std::string s = "{";
  for (int i = 0; i < 100000; ++i) s += (i ? "," : "") + entry(fmt::format("t{}", i), "U8", "[0]", "[0,0]");
  return s + "}";
}

Files broken_lengths() {
  std::string longer = file_of("{" + good + "}", 8);
  longer[0] = 127;
  return {
      {"empty file", "", "too short"},
      {"seven bytes", "1234567", "too short"},
      {"length alone", std::string(8, '\0'), "does not begin"},
      {"header longer than the file", longer, "header of 127 bytes"},
      {"header length 2^63", std::string("\0\0\0\0\0\0\0\x80", 8) + "{}",
       "header of 9223372036854775808 bytes"},
      {"header length 2^64-1", std::string(8, '\xff') + "{}", "header of 18446744073709551615 bytes"},
      {"header above 16 MiB", file_of("{" + std::string(17 << 20, ' ') + "}", 0), "at most 16 MiB"},
      {"leading space", file_of(" {}", 0), "does not begin"},
      {"array on top", file_of("[]", 0), "does not begin"},
  };
}

Files broken_json() {
  return {
      {"not JSON", file_of("{a:1}", 0), "not valid JSON at offset 10"},
      {"unfinished JSON", file_of("{" + good, 8), "not valid JSON"},
      {"garbage after the JSON", file_of("{" + good + "}x", 8), "not valid JSON"},
      {"two objects", file_of("{" + good + "}{}", 8), "not valid JSON"},
      {"comment", file_of("{/**/" + good + "}", 8), "not valid JSON"},
      {"invalid UTF-8", one(entry("\xff\xfe", "F32", "[2]", "[0,8]")), "not valid JSON"},
      {"10^6 brackets", file_of(nested(1000000), 0), "entry \"a\" must be an object"},
      {"10^6 brackets in a shape", one("\"a\":{\"dtype\":\"F32\",\"shape\":" + std::string(1000000, '[')),
       "unexpected an array"},
      {"object in an entry", one("\"a\":{\"dtype\":{}}"), "an object"},
      {"entry is a number", one("\"a\":5"), "must be an object, found a number"},
      {"entry is null", one("\"a\":null"), "found null"},
      {"entry is a string", one("\"a\":\"F32\""), "found a string"},
  };
}

Files broken_keys() {
  return {
      {"metadata holds a number", one("\"__metadata__\":{\"a\":1}," + good), "strings only"},
      {"metadata holds an object", one("\"__metadata__\":{\"a\":{}}," + good), "an object"},
      {"metadata is a string", one("\"__metadata__\":\"a\"," + good), "strings only"},
      {"metadata key twice", one(R"("__metadata__":{"k":"1","k":"2"},)" + good),
       "duplicate key \"k\" in __metadata__"},
      {"metadata twice", one(R"("__metadata__":{},"__metadata__":{},)" + good),
       "duplicate key \"__metadata__\""},
      {"tensor twice", one(good + "," + entry("a", "F32", "[2]", "[8,16]"), 16), "duplicate key \"a\""},
      {"tensor twice, escaped", one(good + "," + entry("\\u0061", "F32", "[2]", "[8,16]"), 16),
       "duplicate key \"a\""},
      {"dtype twice", one(R"("a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"),
       "key \"dtype\" twice"},
      {"shape twice", one(R"("a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]})"),
       "key \"shape\" twice"},
      {"unknown key", one(R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]})"),
       "unknown key \"strides\""},
      {"no dtype", one(R"("a":{"shape":[2],"data_offsets":[0,8]})"), "has no \"dtype\""},
      {"no shape", one(R"("a":{"dtype":"F32","data_offsets":[0,8]})"), "has no \"shape\""},
      {"no offsets", one(R"("a":{"dtype":"F32","shape":[2]})"), "has no \"data_offsets\""},
  };
}

Files broken_values() {
  return {
      {"unknown dtype", one(entry("a", "F8_E4M3", "[8]", "[0,8]")), "tensor \"a\" has dtype \"F8_E4M3\""},
      {"lower-case dtype", one(entry("a", "f32", "[2]", "[0,8]")), "dtype \"f32\""},
      {"dtype is a number", one(R"("a":{"dtype":3,"shape":[2],"data_offsets":[0,8]})"),
       "unexpected a number at \"dtype\""},
      {"dtype is an array", one(R"("a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]})"),
       "unexpected an array"},
      {"shape is a number", one(R"("a":{"dtype":"F32","shape":2,"data_offsets":[0,8]})"),
       "unexpected a number"},
      {"negative size", one(entry("a", "F32", "[-2]", "[0,8]")), "negative number"},
      {"fractional size", one(entry("a", "F32", "[2.0]", "[0,8]")), "no 64-bit integer"},
      {"size 2^64", one(entry("a", "F32", "[18446744073709551616]", "[0,8]")), "no 64-bit integer"},
      {"text size", one(entry("a", "F32", "[\"2\"]", "[0,8]")), "unexpected a string"},
      {"overflow to a small product", one(entry("a", "F32", "[4611686018427387905,2]", "[0,8]")),
       "size overflows"},
      {"overflow hidden by a zero", one(entry("a", "F32", "[4294967296,4294967296,0]", "[0,0]"), 0),
       "size overflows"},
      {"size above int64", one(entry("a", "U8", "[18446744073709551615]", "[0,8]")), "size overflows"},
      {"seven dimensions", one(entry("a", "F32", "[1,1,1,1,1,1,2]", "[0,8]")), "more than six"},
  };
}

Files broken_offsets() {
  return {
      {"one offset", one(entry("a", "F32", "[2]", "[0]")), "must be two numbers"},
      {"three offsets", one(entry("a", "F32", "[2]", "[0,8,8]")), "must be two numbers"},
      {"offsets reversed", one(entry("a", "F32", "[2]", "[8,0]")), "lie outside"},
      {"offset beyond the file", one(entry("a", "F32", "[2]", "[8,16]")), "lie outside"},
      {"offset 2^64-1", one(entry("a", "U8", "[1]", "[18446744073709551614,18446744073709551615]")),
       "lie outside"},
      {"shape larger than offsets", one(entry("a", "F32", "[3]", "[0,8]")),
       "needs 12 bytes, data_offsets give 8"},
      {"shape smaller than offsets", one(entry("a", "F32", "[1]", "[0,8]")),
       "needs 4 bytes, data_offsets give 8"},
      {"overlap", one(good + "," + entry("b", "F32", "[2]", "[4,12]"), 12), "tensor \"b\" overlaps"},
      {"the same bytes twice", one(good + "," + entry("b", "F32", "[2]", "[0,8]")), "overlaps"},
      {"hole in front", one(entry("a", "F32", "[2]", "[4,12]"), 12), "4 unused bytes before tensor \"a\""},
      {"hole between", one(good + "," + entry("b", "F32", "[2]", "[12,20]"), 20),
       "4 unused bytes before tensor \"b\""},
      {"trailing bytes", one(good, 9), "1 bytes after the last tensor"},
      {"data without tensors", file_of("{}", 8), "8 bytes after the last tensor"},
      {"truncated data", one(good, 7), "lie outside the 7 bytes"},
      {"BOOL with value 5", file_of("{" + entry("a", "BOOL", "[1]", "[0,1]") + "}", 0) + "\5",
       "neither 0 nor 1"},
      {"100k entries", file_of(many_entries(), 0), "more than 65536 entries"},
  };
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

Tensor counted(Shape shape, DType dtype) {
  Tensor t(shape, dtype);
  auto* bytes = static_cast<uint8_t*>(t.raw());
  for (int64_t i = 0; i < t.bytes(); ++i)
    bytes[i] = static_cast<uint8_t>(dtype == DType::boolean ? i % 2 : 37 * i + 11);
  return t;
}

}  // namespace

TEST_CASE("engine/safetensors: hostile files are refused, quickly, with the reason") {
  Files files;
  for (const Files& part :
       {broken_lengths(), broken_json(), broken_keys(), broken_values(), broken_offsets()}) {
    files.insert(files.end(), part.begin(), part.end());
  }
  for (const Hostile& h : files) {
    INFO(h.what);
    const long before = peak_kilobytes();
    const auto start = std::chrono::steady_clock::now();
    const std::string text = complaint(h.bytes);
    const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK_MESSAGE(text.find(h.says) != std::string::npos, text);
    CHECK(text.starts_with("x.safetensors: "));
    CHECK(seconds < 1.0);
    CHECK(peak_kilobytes() - before < 64 * 1024);
  }
}

TEST_CASE("engine/safetensors: every truncation of a good file is refused") {
  const std::string good = file_of(
      "{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("b", "U8", "[3]", "[8,11]") + "}", 11);
  CHECK(parse(good).tensors.size() == 2);
  for (size_t n = 0; n < good.size(); ++n) CHECK(complaint(good.substr(0, n)) != "accepted");
}

TEST_CASE("engine/safetensors: every dtype, shape and text survives a round trip") {
  const std::string path = (std::filesystem::temp_directory_path() / fmt::format("tessera_st_{}", getpid()))
                               .string();
  SafeTensors out;
  out.metadata = {{"config", "{\"a\": \"b\\n\"}\n\t\"quoted\""}, {"unicode", "\u00e9\u4e2d"}, {"empty", ""}};
  for (DType d :
       {DType::f32, DType::bf16, DType::i32, DType::u8, DType::f16, DType::f64, DType::i64, DType::boolean}) {
    out.tensors.emplace_back(std::string("odd.") + name(d), counted({3, 5, 7}, d));
    out.tensors.emplace_back(std::string("scalar.") + name(d), counted({}, d));
    out.tensors.emplace_back(std::string("none.") + name(d), counted({2, 0, 3}, d));
  }
  out.tensors.emplace_back("six \"dims\"", counted({1, 2, 1, 3, 1, 2}, DType::f32));
  save_safetensors(path, out);

  std::ifstream file(path, std::ios::binary);
  uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), 8);
  CHECK(header_bytes % 8 == 0);

  const SafeTensors in = load_safetensors(path);
  std::filesystem::remove(path);
  CHECK(in.metadata == out.metadata);
  REQUIRE(in.tensors.size() == out.tensors.size());
  for (size_t i = 0; i < in.tensors.size(); ++i) {
    const auto& [name_in, a] = in.tensors[i];
    const Tensor* b = out.find(name_in);
    REQUIRE(b != nullptr);
    CHECK(a.shape() == b->shape());
    CHECK(a.dtype() == b->dtype());
    CHECK((a.bytes() == 0 || std::memcmp(a.raw(), b->raw(), static_cast<size_t>(a.bytes())) == 0));
  }
}

TEST_CASE("engine/safetensors: reads a file that the reference library wrote") {
  // Written by Python's safetensors; first and 41st value: warm-up from 0, then the peak.
  const SafeTensors f = load_safetensors(std::string(TESSERA_SOURCE_DIR) +
                                         "/tests/golden/lr_schedules.safetensors");
  const Tensor& t = f.at("out.mae_pretrain");
  CHECK(t.shape() == Shape{200});
  CHECK(t.data<float>()[0] == 0.0f);
  CHECK(t.data<float>()[40] == 1.5e-4f);
  CHECK(f.metadata.contains("config"));
}

TEST_CASE("engine/safetensors: errors of the file system and of the caller") {
  const auto kind = [](auto&& f) {
    try {
      f();
    } catch (const Error& e) {
      return e.kind();
    }
    return ErrorKind::data;
  };
  CHECK(kind([] { load_safetensors("/nonexistent/x.safetensors"); }) == ErrorKind::io);
  CHECK(kind([] { load_safetensors("/"); }) == ErrorKind::io);
  CHECK(kind([] { save_safetensors("/nonexistent/x.safetensors", {}); }) == ErrorKind::io);
  CHECK(kind([] { SafeTensors{}.at("weight"); }) == ErrorKind::checkpoint);
  const Tensor t = counted({1}, DType::u8);
  CHECK(kind([&] {
          write_safetensors({{}, {{"a", t}, {"a", t}}}, [](const void*, size_t) {});
        }) == ErrorKind::internal);
  CHECK(kind([&] {
          write_safetensors({{}, {{"\xff", t}}}, [](const void*, size_t) {});
        }) == ErrorKind::internal);
}

}  // namespace tessera
