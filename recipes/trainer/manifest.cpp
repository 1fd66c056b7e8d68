// The manifest as JSON. Its first line holds the sum of all lines after it, so damage to the manifest itself
// shows too.
#include "recipes/trainer/manifest.h"

#include <xxhash.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/check.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr std::string_view kFirst = "{\"manifest_xxh3_128\": \"";
constexpr std::string_view kAfterSum = "\",\n";
constexpr size_t kSumDigits = 32;
constexpr const char* kMark = "tessera_format";  // tells our metadata from others'

std::string hex(XXH128_hash_t hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

// Text that is not UTF-8 (a path, say) must not stop a save.
std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json to_json(const CheckpointInfo& info) {
  return Json{{"step", info.step},     {"epoch", info.epoch},
              {"seed", info.seed},     {"recipe", info.recipe},
              {"model", info.model},   {"parts", info.parts},
              {"target", info.target}, {"mean", info.mean},
              {"std", info.std},       {"image_size", info.image_size},
              {"code", info.code},     {"config", info.config},
              {"extra", info.extra}};
}

// Json's own conversions cast whatever number they find, 1e300 and -1 too.
uint64_t count(const Json& j, uint64_t most, const std::string& path) {
  if (!j.is_number_unsigned() || j.get<uint64_t>() > most)
    fail(ErrorKind::checkpoint, "{}: {} where an integer from 0 to {} belongs", path, dump(j, -1), most);
  return j.get<uint64_t>();
}

int64_t signed_count(const Json& j, const std::string& path) {
  return static_cast<int64_t>(count(j, INT64_MAX, path));
}

CheckpointInfo info_from_json(const Json& j, const std::string& path) {
  CheckpointInfo info;
  info.step = signed_count(j.at("step"), path);
  j.at("epoch").get_to(info.epoch);
  info.seed = count(j.at("seed"), UINT64_MAX, path);
  j.at("recipe").get_to(info.recipe);
  j.at("model").get_to(info.model);
  j.at("parts").get_to(info.parts);
  j.at("target").get_to(info.target);
  j.at("mean").get_to(info.mean);
  j.at("std").get_to(info.std);
  for (const Json& side : j.at("image_size")) info.image_size.push_back(signed_count(side, path));
  j.at("code").get_to(info.code);
  j.at("config").get_to(info.config);
  j.at("extra").get_to(info.extra);
  return info;
}

void check_format(const Json& j, const std::string& path) {
  const uint64_t format = count(j, UINT64_MAX, path);
  if (format != kFormat) {
    throw UnknownFormat(
        ErrorKind::checkpoint,
        fmt::format("{}: format {} is unknown to this build, which reads format {}; use a newer build", path,
                    format, kFormat));
  }
}

std::string sum_from_json(const Json& j, const std::string& path) {
  const std::string sum = j.get<std::string>();
  if (sum.size() != kSumDigits || sum.find_first_not_of("0123456789abcdef") != std::string::npos)
    fail(ErrorKind::checkpoint, "{}: {} where {} hexadecimal digits belong", path, dump(j, -1), kSumDigits);
  return sum;
}

// A file lies in the checkpoint's own folder.
std::string file_name_from_json(const Json& j, const std::string& path) {
  const std::string name = j.get<std::string>();
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    fail(ErrorKind::checkpoint, "{}: {} where the name of a file beside it belongs", path, dump(j, -1));
  }
  return name;
}

ManifestFile file_from_json(const Json& j, const std::string& path) {
  ManifestFile file{file_name_from_json(j.at("name"), path), sum_from_json(j.at("xxh3_128"), path), {}};
  uint64_t room = INT64_MAX;
  for (const Json& p : j.at("parts")) {
    const uint64_t bytes = count(p.at("bytes"), room, path);
    room -= bytes;
    file.parts.push_back({p.at("name"), bytes, sum_from_json(p.at("xxh3_128"), path)});
  }
  if (count(j.at("bytes"), INT64_MAX, path) != file.bytes()) {
    fail(ErrorKind::checkpoint, "{}: {} has {} bytes, its parts {}", path, file.name, j.at("bytes").dump(),
         file.bytes());
  }
  return file;
}

}  // namespace

uint64_t ManifestFile::bytes() const {
  uint64_t n = 0;
  for (const ManifestPart& part : parts) n += part.bytes;
  return n;
}

std::string write_manifest(const Manifest& manifest) {
  Json files = Json::array();
  for (const ManifestFile& f : manifest.files) {
    Json parts = Json::array();
    for (const ManifestPart& p : f.parts)
      parts.push_back({{"name", p.name}, {"bytes", p.bytes}, {"xxh3_128", p.sum}});
    files.push_back(
        {{"name", f.name}, {"bytes", f.bytes()}, {"xxh3_128", f.sum}, {"parts", std::move(parts)}});
  }
  const Json body{{"format", kFormat}, {"info", to_json(manifest.info)}, {"files", std::move(files)}};
  const std::string rest = dump(body, 1).substr(2) + "\n";  // without the "{\n" that stands in the first line
  return fmt::format("{}{}{}{}", kFirst, checksum(rest.data(), rest.size()), kAfterSum, rest);
}

Manifest read_manifest(const std::string& text, const std::string& path) {
  const size_t rest_at = kFirst.size() + kSumDigits + kAfterSum.size();
  const std::string_view view(text);
  const std::string_view rest = view.substr(std::min(rest_at, view.size()));
  const std::string expected = fmt::format("{}{}{}", kFirst, checksum(rest.data(), rest.size()), kAfterSum);
  if (view.substr(0, rest_at) != expected)
    fail(ErrorKind::checkpoint, "{}: does not match its own checksum", path);
  try {
    const Json j = Json::parse(text);
    check_format(j.at("format"), path);
    Manifest m;
    m.info = info_from_json(j.at("info"), path);
    for (const Json& f : j.at("files")) m.files.push_back(file_from_json(f, path));
    return m;
  } catch (const Json::exception& e) {
    fail(ErrorKind::checkpoint, "{}: {}", path, e.what());
  }
}

std::map<std::string, std::string> info_to_metadata(const CheckpointInfo& info) {
  std::map<std::string, std::string> metadata = info.extra;
  metadata[kMark] = std::to_string(kFormat);
  const Json fields = to_json(info);
  for (const auto& [key, value] : fields.items()) {
    if (key != "extra") metadata[key] = value.is_string() ? value.get<std::string>() : dump(value, -1);
  }
  return metadata;
}

CheckpointInfo info_from_metadata(const std::map<std::string, std::string>& metadata,
                                  const std::string& path) {
  if (!metadata.contains(kMark)) return {};
  const Json like = to_json({});
  Json fields{{"extra", Json::object()}};
  try {
    check_format(Json::parse(metadata.at(kMark)), path);
    for (const auto& [key, value] : metadata) {
      if (key == kMark) continue;
      if (!like.contains(key)) {
        fields["extra"][key] = value;
      } else {
        fields[key] = like.at(key).is_string() ? Json(value) : Json::parse(value);
      }
    }
    return info_from_json(fields, path);
  } catch (const Json::exception& e) {
    fail(ErrorKind::checkpoint, "{}: metadata: {}", path, e.what());
  }
}

Checksum::Checksum() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_);
}
Checksum::~Checksum() { XXH3_freeState(state_); }
void Checksum::add(const void* data, size_t size) { XXH3_128bits_update(state_, data, size); }
std::string Checksum::sum() const { return hex(XXH3_128bits_digest(state_)); }
std::string checksum(const void* data, size_t size) { return hex(XXH3_128bits(data, size)); }

}  // namespace tessera
