// safetensors: a strict reader (nothing is allocated before the whole header is proven) and a plain writer.
#include "engine/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "engine/check.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian, and so is every supported machine");

// The largest published models need a few thousand tensors and less than 1 MB of header.
constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
constexpr size_t kMaxTensors = 65536;

constexpr std::pair<const char*, DType> kDTypes[] = {
    {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}, {"F64", DType::f64},
    {"I64", DType::i64}, {"I32", DType::i32}, {"U8", DType::u8},     {"BOOL", DType::boolean}};

const char* file_name_of(DType dtype) {
  for (const auto& [name, d] : kDTypes) {
    if (d == dtype) return name;
  }
  return "?";
}

struct Entry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  uint64_t begin = 0, end = 0;  // from the start of the data
};

struct Header {
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;  // by offset
};

// One entry while its keys arrive.
struct RawEntry {
  std::string name, dtype;
  std::vector<uint64_t> shape, offsets;
  std::set<std::string> seen;
};

// Receives the header's JSON events one by one: no tree, no recursion, and duplicate keys are visible.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(const std::string& path, uint64_t data_bytes) : path_(path), data_bytes_(data_bytes) {}

  Header take() {
    std::stable_sort(header_.entries.begin(), header_.entries.end(), [](const Entry& a, const Entry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    uint64_t covered = 0;
    for (const Entry& e : header_.entries) {
      if (e.begin < covered)
        refuse("tensor \"{}\" overlaps the one before it at data offset {}", e.name, e.begin);
      if (e.begin > covered) refuse("{} unused bytes before tensor \"{}\"", e.begin - covered, e.name);
      covered = e.end;
    }
    if (covered != data_bytes_) refuse("{} bytes after the last tensor", data_bytes_ - covered);
    return std::move(header_);
  }

  bool start_object(std::size_t) override {
    if (depth_ == 0) {
      depth_ = 1;
      return true;
    }
    if (depth_ != 1 || in_array_) refuse_at("an object");
    depth_ = 2;
    return true;
  }
  bool key(string_t& key) override {
    if (depth_ == 1) {
      if (!names_.insert(key).second) refuse("duplicate key \"{}\"", key);
      if (names_.size() > kMaxTensors) refuse("more than {} entries", kMaxTensors);
      in_metadata_ = key == "__metadata__";
      entry_ = {};
      entry_.name = key;
    } else if (in_metadata_) {
      if (header_.metadata.contains(key)) refuse("duplicate key \"{}\" in __metadata__", key);
    } else {
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse("tensor \"{}\" has unknown key \"{}\"", entry_.name, key);
      if (!entry_.seen.insert(key).second) refuse("tensor \"{}\" has key \"{}\" twice", entry_.name, key);
    }
    key_ = key;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) header_.entries.push_back(checked_entry());
    --depth_;
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) {
      header_.metadata[key_] = text;
    } else if (depth_ == 2 && key_ == "dtype" && !in_array_) {
      entry_.dtype = text;
    } else {
      refuse_at("a string");
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || in_array_ || key_ == "dtype") refuse_at("an array");
    in_array_ = true;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) refuse_at("a number");
    std::vector<uint64_t>& list = key_ == "shape" ? entry_.shape : entry_.offsets;
    if (list.size() >= Shape::kMaxRank)
      refuse("tensor \"{}\": {} has more than six numbers", entry_.name, key_);
    list.push_back(value);
    return true;
  }
  bool null() override { refuse_at("null"); }
  bool boolean(bool) override { refuse_at("a boolean"); }
  bool number_integer(number_integer_t) override { refuse_at("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    refuse_at("a number that is no 64-bit integer");
  }
  bool binary(binary_t&) override { refuse_at("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    refuse("header is not valid JSON at offset {}", 8 + position);
  }

 private:
  template <class... Args> [[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) const {
    fail(ErrorKind::checkpoint, "{}: {}", path_, fmt::format(text, std::forward<Args>(args)...));
  }
  [[noreturn]] void refuse_at(const char* what) const {
    if (depth_ == 0) refuse("header must be an object, found {}", what);
    if (in_metadata_) refuse("__metadata__ must hold strings only, found {} at \"{}\"", what, key_);
    if (depth_ == 1) refuse("entry \"{}\" must be an object, found {}", entry_.name, what);
    refuse("tensor \"{}\": unexpected {} at \"{}\"", entry_.name, what, key_);
  }

  Entry checked_entry() const {
    for (const char* wanted : {"dtype", "shape", "data_offsets"}) {
      if (!entry_.seen.contains(wanted)) refuse("tensor \"{}\" has no \"{}\"", entry_.name, wanted);
    }
    Entry e;
    e.name = entry_.name;
    const auto* known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                     [&](auto& d) { return d.first == entry_.dtype; });
    if (known == std::end(kDTypes)) {
      refuse("tensor \"{}\" has dtype \"{}\"; known are F32 F16 BF16 F64 I64 I32 U8 BOOL", e.name,
             entry_.dtype);
    }
    e.dtype = known->second;
    uint64_t bytes = static_cast<uint64_t>(size_of(e.dtype));
    for (uint64_t size : entry_.shape) {
      if (size > INT64_MAX || __builtin_mul_overflow(bytes, size, &bytes))
        refuse("tensor \"{}\": its size overflows", e.name);
      e.shape.push_back(static_cast<int64_t>(size));
    }
    if (entry_.offsets.size() != 2) refuse("tensor \"{}\": data_offsets must be two numbers", e.name);
    e.begin = entry_.offsets[0];
    e.end = entry_.offsets[1];
    if (e.begin > e.end || e.end > data_bytes_) {
      refuse("tensor \"{}\": data_offsets [{}, {}] lie outside the {} bytes of data", e.name, e.begin, e.end,
             data_bytes_);
    }
    if (e.end - e.begin != bytes) {
      refuse("tensor \"{}\": {} {} needs {} bytes, data_offsets give {}", e.name, e.shape.str(), entry_.dtype,
             bytes, e.end - e.begin);
    }
    return e;
  }

  const std::string& path_;
  uint64_t data_bytes_;
  Header header_;
  std::set<std::string> names_;
  RawEntry entry_;
  std::string key_;
  int depth_ = 0;
  bool in_metadata_ = false, in_array_ = false;
};

// Copies `size` bytes from `offset` of the file to `to`.
using ReadAt = std::function<void(uint64_t offset, void* to, size_t size)>;

SafeTensors read_all(const std::string& path, uint64_t file_bytes, const ReadAt& read) {
  if (file_bytes < 8)
    fail(ErrorKind::checkpoint, "{}: {} bytes are too short for a safetensors file", path, file_bytes);
  uint64_t header_bytes = 0;
  read(0, &header_bytes, 8);
  if (header_bytes > file_bytes - 8 || header_bytes > kMaxHeaderBytes) {
    fail(ErrorKind::checkpoint,
         "{}: offset 0 gives a header of {} bytes, in a file of {} (at most {} MiB are accepted)", path,
         header_bytes, file_bytes, kMaxHeaderBytes >> 20);
  }
  std::string text(header_bytes, '\0');
  read(8, text.data(), text.size());
  if (text.empty() || text[0] != '{')
    fail(ErrorKind::checkpoint, "{}: header does not begin with '{{' at offset 8", path);

  const uint64_t data_at = 8 + header_bytes;
  HeaderReader reader(path, file_bytes - data_at);
  nlohmann::json::sax_parse(text, &reader);
  Header header = reader.take();

  SafeTensors result;
  result.metadata = std::move(header.metadata);
  for (const Entry& e : header.entries) {
    const Tensor t(e.shape, e.dtype, Device::cpu(), "file");
    if (e.end > e.begin) read(data_at + e.begin, t.raw(), e.end - e.begin);
    if (e.dtype == DType::boolean) {
      const auto* bytes = static_cast<const uint8_t*>(t.raw());
      if (std::any_of(bytes, bytes + t.bytes(), [](uint8_t b) { return b > 1; })) {
        fail(ErrorKind::checkpoint, "{}: tensor \"{}\" is BOOL but holds a byte that is neither 0 nor 1",
             path, e.name);
      }
    }
    result.tensors.emplace_back(e.name, t);
  }
  return result;
}

// Closes a descriptor on every path.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void fail_io(const char* what, const std::string& path) {
  fail(ErrorKind::io, "cannot {} {}: {}", what, path, std::strerror(errno));
}

}  // namespace

const Tensor* SafeTensors::find(const std::string& name) const {
  for (const auto& [n, t] : tensors) {
    if (n == name) return &t;
  }
  return nullptr;
}

const Tensor& SafeTensors::at(const std::string& name) const {
  const Tensor* t = find(name);
  if (!t) fail(ErrorKind::checkpoint, "no tensor named \"{}\" among {}", name, tensors.size());
  return *t;
}

SafeTensors load_safetensors(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail_io("open", path);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail_io("stat", path);
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::io, "{} is not a regular file", path);
  return read_all(path, static_cast<uint64_t>(status.st_size), [&](uint64_t offset, void* to, size_t size) {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      const ssize_t got = ::pread(file.fd, at, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_io("read", path);
      if (got == 0) fail(ErrorKind::io, "{} became shorter while it was read", path);
      at += got;
      offset += static_cast<uint64_t>(got);
      size -= static_cast<size_t>(got);
    }
  });
}

SafeTensors parse_safetensors(const std::byte* data, size_t size, const std::string& name) {
  return read_all(name, size,
                  [&](uint64_t offset, void* to, size_t n) { std::memcpy(to, data + offset, n); });
}

void write_safetensors(const SafeTensors& content,
                       const std::function<void(const void* data, size_t size)>& sink) {
  const auto quoted = [](const std::string& s) {
    try {
      return nlohmann::json(s).dump();
    } catch (const nlohmann::json::exception&) {
      fail(ErrorKind::internal, "safetensors: a name or metadata text is not UTF-8");
    }
  };
  std::string header = "{";
  if (!content.metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : content.metadata)
      header += fmt::format("{}:{},", quoted(key), quoted(value));
    header.back() = '}';
    header += ",";
  }
  std::set<std::string> names{"__metadata__"};
  int64_t offset = 0;
  for (const auto& [name, t] : content.tensors) {
    TS_CHECK(names.insert(name).second, "safetensors: two tensors named \"{}\"", name);
    TS_CHECK(t.defined() && t.device().is_cpu(), "safetensors: tensor \"{}\" is not on the CPU", name);
    std::string sizes;
    for (int i = 0; i < t.rank(); ++i) sizes += fmt::format("{}{}", i ? "," : "", t.dim(i));
    header += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}},", quoted(name),
                          file_name_of(t.dtype()), sizes, offset, offset + t.bytes());
    offset += t.bytes();
  }
  if (header.size() > 1) header.pop_back();
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = header.size();
  sink(&header_bytes, sizeof header_bytes);
  sink(header.data(), header.size());
  for (const auto& [name, t] : content.tensors) {
    if (t.bytes() > 0) sink(t.raw(), static_cast<size_t>(t.bytes()));
  }
}

void save_safetensors(const std::string& path, const SafeTensors& content) {
  const Descriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (file.fd < 0) fail_io("create", path);
  write_safetensors(content, [&](const void* data, size_t size) {
    const auto* at = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t put = ::write(file.fd, at, size);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail_io("write", path);
      at += put;
      size -= static_cast<size_t>(put);
    }
  });
  if (::fsync(file.fd) != 0) fail_io("sync", path);
}

}  // namespace tessera
