// Pictures in files of their own: folders in ImageNet's layout, flat folders, lists.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"

namespace tessera {

// See open_dataset. Each throws Error(data) naming the folder or the line, and the remedy, when it cannot be
// read or holds no picture; open_folder also when a class has none, since every later label would depend on
// whether it counts.
std::unique_ptr<Dataset> open_folder(const std::string& dir, const DecodeLimits& limits);
std::unique_ptr<Dataset> open_flat(const std::string& dir, const DecodeLimits& limits);
std::unique_ptr<Dataset> open_list(const std::string& path, const DecodeLimits& limits);

}  // namespace tessera
