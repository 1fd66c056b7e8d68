// Photo-like JPEG files for `bench data`: no download, the same bytes from every run of one build.
#pragma once

#include <string>
#include <vector>

namespace tessera::bench {

// A folder of files that are timed together.
struct PhotoSet {
  std::string name;    // of the folder
  std::string folder;  // its path
};

// Writes three sets into `dir`, one folder each, of photos at quality 90 with colour at half resolution:
// 500x375 (ImageNet's usual size), 12-megapixel baseline and the same pictures progressive. Returns them.
// Throws Error(data) naming the file that cannot be written.
std::vector<PhotoSet> write_photo_sets(const std::string& dir);

}  // namespace tessera::bench
