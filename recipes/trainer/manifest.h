// manifest.json of a checkpoint: what it is, and the XXH3-128 sum of every file, header and tensor.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/require.h"
#include "recipes/trainer/checkpoint.h"

struct XXH3_state_s;  // of xxhash.h, which stays in manifest.cpp

namespace tessera {

// A run of bytes with a sum of its own. Sums are 32 lower-case hexadecimal digits.
struct ManifestPart {
  std::string name;  // of the tensor; "" for the header in front
  uint64_t bytes = 0;
  std::string sum;
};

struct ManifestFile {
  std::string name;  // "model.safetensors"
  std::string sum;   // of the whole file
  std::vector<ManifestPart>
      parts;  // in file order, without gaps: the header, then the tensors that are not empty
  uint64_t bytes() const;
};

struct Manifest {
  CheckpointInfo info;
  std::vector<ManifestFile> files;
};

// The text carries a sum of itself in its first line.
std::string write_manifest(const Manifest& manifest);
// A sound checkpoint of a format this build does not know: no reason to fall back to an older one.
class UnknownFormat : public Error {
 public:
  using Error::Error;
};
// Throws Error(checkpoint) naming `path` when the text is damaged or incomplete, UnknownFormat when it is of
// another format.
Manifest read_manifest(const std::string& text, const std::string& path);

// The same facts as strings, for the metadata of model.safetensors, and back. A file without them gives an
// empty info.
std::map<std::string, std::string> info_to_metadata(const CheckpointInfo& info);
CheckpointInfo info_from_metadata(const std::map<std::string, std::string>& metadata,
                                  const std::string& path);

// XXH3-128 of bytes that arrive in pieces.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  void add(const void* data, size_t size);
  std::string sum() const;

 private:
  XXH3_state_s* state_;
};
std::string checksum(const void* data, size_t size);

}  // namespace tessera
