// Channel means and standard deviations of known data sets, of pixels scaled to [0, 1]; ops/normalize_images
// applies them.
#pragma once

#include <vector>

namespace tessera {

struct ChannelStats {
  std::vector<float> mean, std;
};

// R, G, B (spec mae.md section 6).
inline ChannelStats imagenet_stats() { return {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}}; }
// Grey; counted over the 60,000 training pictures.
inline ChannelStats fashion_mnist_stats() { return {{0.2860f}, {0.3530f}}; }

}  // namespace tessera
