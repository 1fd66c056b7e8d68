// Memory: labelled, pooled, 64-byte aligned storage on huge pages.
// A step after warm-up touches no fresh page.
// The pool keeps what it is given:
// a freed block goes to the free list of its size class, never back to the system.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tessera {

// One block of the pool. Owned by shared_ptr<Storage>; returns to the pool when the last handle dies.
class Storage {
 public:
  // At least `bytes` bytes, contents undefined (0xff under memory::GuardScope).
  // Throws Error(memory) with who holds what, also when all of it together would exceed the machine's memory.
  Storage(int64_t bytes, const char* label);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const char* label() const { return label_; }

 private:
  std::byte* data_ = nullptr;
  std::byte* block_ = nullptr;  // what the pool handed out; before data_ under guards
  int64_t bytes_ = 0;
  int64_t capacity_ = 0;
  bool guarded_ = false;
  const char* label_;  // static text: "activations", "gradients", ...
};

namespace memory {

struct Usage {
  int64_t now = 0;       // bytes held by live tensors
  int64_t peak = 0;      // highest `now` since reset_peak()
  int64_t reserved = 0;  // bytes taken from the system
  std::map<std::string, int64_t> now_by_label;
  std::map<std::string, int64_t> peak_by_label;  // who held what at `peak` (within 1/64 of it)
};
Usage usage();
void reset_peak();

// Limits what the pool may take from the system; 0 = no limit. Beyond it, Storage throws Error(memory) that
// says what was asked for, what is in use, the limit and the five largest labels. Until it is called, the
// limit is TESSERA_MEMORY_LIMIT (see parse_bytes; 0 = none) or else machine_bytes(): an error is better than
// the system's killer.
void set_limit(int64_t bytes);
int64_t limit();

// "4096", "512M", "4G", "1.5G" (K, M, G, T are powers of 1024). Throws Error(config) naming `what`.
int64_t parse_bytes(const std::string& text, const std::string& what);

// Memory of this machine, or what its container may use if that is less.
int64_t machine_bytes();

// What the pool sets aside for `bytes`: at most 6 % more.
int64_t block_bytes(int64_t bytes);

// One block taken or given back, for planning.
struct Event {
  const char* label;
  int64_t bytes;  // asked for; 0: given back
  const void* block;
};
// While alive, every event of every thread is written down, in order. Not nestable.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  std::vector<Event> events() const;  // so far
};

// While alive: new storage starts as 0xff (NaN in every float type) and carries 64 guard bytes on both sides,
// checked when it is freed. For tests; not nestable.
class GuardScope {
 public:
  GuardScope();
  ~GuardScope();
  // Labels of freed blocks whose guard bytes were overwritten so far.
  std::vector<std::string> violations() const;
};

// Label given to tensors that state none, while alive (on this thread). `label` must be static text.
class LabelScope {
 public:
  explicit LabelScope(const char* label);
  ~LabelScope();

 private:
  const char* outer_;
};
const char* current_label();

}  // namespace memory
}  // namespace tessera
