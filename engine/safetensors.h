// safetensors: named tensors and string metadata, to and from a file. Nothing else knows the format.
// Layout: 8-byte little-endian header length, JSON header, raw little-endian data.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace tessera {

struct SafeTensors {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, Tensor>> tensors;  // in file order (by offset)

  const Tensor* find(const std::string& name) const;  // nullptr when absent
  const Tensor& at(const std::string& name) const;    // throws Error(checkpoint) naming it
};

// Reads and validates the whole header before any allocation: lengths, overflow, overlap, holes, duplicate
// keys, unknown dtype. Throws Error(io) when the file cannot be opened or read, Error(checkpoint) with path
// and offset when it is malformed.
SafeTensors load_safetensors(const std::string& path);
// The same from memory; `name` stands for the path in errors. (Entry point of the fuzz target.)
SafeTensors parse_safetensors(const std::byte* data, size_t size, const std::string& name);

// Hands the bytes of the file to `sink`, in order: the header's length, the header, then each tensor that is
// not empty, whole. Same content, same bytes. Throws Error(internal) for a duplicate name.
void write_safetensors(const SafeTensors& content,
                       const std::function<void(const void* data, size_t size)>& sink);
// Writes to `path` directly and fsyncs; atomicity is the caller's (checkpoint.h). Throws Error(io).
void save_safetensors(const std::string& path, const SafeTensors& content);

}  // namespace tessera
