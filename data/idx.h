// IDX files (MNIST, Fashion-MNIST and their family): all pictures of a data set in one file, kept in memory.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"

namespace tessera {

// `images` holds unsigned bytes [N, H, W] (grey) or [N, H, W, C] with C 1, 3 or 4; `labels` [N], or "" for
// none. Plain or gzip. Throws Error(data) naming the file when it cannot be read, its header is not that, its
// size differs from what the header says, or the two files differ in N. Nothing is allocated before the
// header has been held against the file's size.
std::unique_ptr<Dataset> open_idx(const std::string& images, const std::string& labels);

}  // namespace tessera
