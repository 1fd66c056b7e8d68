// TensorBoard event files, written by hand: TFRecord framing (length, masked CRC-32C) around protobuf Event
// messages. A disk that refuses costs the events of that moment, not the run: one warning.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "recipes/trainer/disk.h"

namespace tessera {

class EventWriter {
 public:
  // RUN/events.out.tfevents.<seconds>.<pid>, last in the order of names. Where the run has earlier files,
  // readers are told to forget their steps after resumed_step.
  EventWriter(const std::string& run, int64_t resumed_step, Disk& disk = real_disk());

  void scalar(std::string_view tag, int64_t step, double value);
  // `png`: the bytes of a PNG of `height` x `width`; channels 1, 3 or 4.
  void image(std::string_view tag, int64_t step, int64_t height, int64_t width, int channels,
             std::string_view png);

 private:
  void begin();
  void write_event(int64_t step, std::string_view body);
  void write_record(int64_t step, std::string_view body);

  Disk& disk_;
  std::string run_, path_;  // of the file; empty until it is first opened
  int64_t resumed_step_;
  bool continues_ = false;            // there are earlier files
  std::unique_ptr<Disk::File> file_;  // null until the disk lets it be opened and begun
};

uint32_t crc32c(std::string_view bytes);

}  // namespace tessera
