// Dataset: pictures by index, with labels where there are any. Loading is const and may run on many threads
// at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/decode.h"
#include "data/picture.h"

namespace tessera {

class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;            // at least 1
  virtual int classes() const = 0;             // labels are 0 .. classes - 1; 0 when there are none
  virtual int32_t label(int64_t i) const = 0;  // -1 when there are none
  // What sample i is, for people: its path, or "FILE, picture 17".
  virtual std::string describe(int64_t i) const = 0;
  // The box of sample i that `choose` picks, as [box.height, box.width, channels] with channels 1, 3 or 4
  // (see decode.h). Throws Error(data) naming the sample when it cannot be read or has no such channels.
  virtual void load(int64_t i, int channels, const ChooseBox& choose, Picture& out) const = 0;

  // Throws Error(internal) unless 0 <= i < size().
  void check_index(int64_t i) const;
};

// Opens a source:
//   folder:DIR                 DIR/<class>/**/<picture>: ImageNet's layout; classes and files sorted by name
//   flat:DIR                   all pictures directly in DIR, sorted, no labels
//   list:FILE                  a path per line, relative to FILE's folder, then optionally a label after a
//                              tab or the last space
//   idx:IMAGES[,LABELS]        MNIST-family files, plain or gzip
//   synthetic:N,HxWxC          N made-up pictures of ten classes, for tests and bench
// Pictures are files whose names end in .jpg, .jpeg or .png (any case); hidden files and folders are passed
// over, links followed. Throws Error(config) for a source of another form, Error(data) naming the place and
// the remedy when there is nothing to read.
std::unique_ptr<Dataset> open_dataset(const std::string& source, const DecodeLimits& limits = {});

}  // namespace tessera
