// CPU half of patchify. A token is written front to back: stores that jump about cost several times more.
#include "engine/copy.h"
#include "engine/indices.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/patchify/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements

// Sizes in elements. In a picture, channels are `plane` apart, rows `line`; in a token, channels are
// `channel` apart, pixels of a row `step`.
struct Grid {
  int64_t count, columns, channels, height, width, plane, line, size, channel, step;
  const int32_t* keep;

  Grid(const Tensor& images, const Tensor& tokens, const Patches& patch, const Tensor& kept) {
    const bool first = patch.order == PatchOrder::channel_first;
    channels = images.dim(1), line = images.dim(3), plane = images.dim(2) * line;
    height = patch.height, width = patch.width, columns = line / width;
    count = tokens.dim(1), size = tokens.dim(2);
    channel = first ? height * width : 1, step = first ? 1 : channels;
    keep = kept.defined() ? kept.data<int32_t>() : nullptr;
    if (keep) check_indices("patchify", "keep", kept, plane / (height * width));
  }
  int64_t tokens_per_task() const { return 1 + kGrain / (size + 1); }
  // Where in the images the patch of token t = b * count + k begins.
  int64_t corner(int64_t t) const {
    const int64_t n = keep ? keep[t] : t % count;
    return t / count * channels * plane + n / columns * height * line + n % columns * width;
  }
};

// out[j * C + c] = in[c * plane + j]. With the number of channels known, the compiler makes shuffles of it.
template <int kChannels, class T, class I>
void interleave(T* out, const I* in, int64_t plane, int64_t n, int64_t channels) {
  const int64_t count = kChannels ? kChannels : channels;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t c = 0; c < count; ++c)
      out[j * count + c] = static_cast<T>(static_cast<float>(in[c * plane + j]));
  }
}

template <class T, class I>
void patch_to_token(T* out, const I* in, const Grid grid) {  // a copy of grid: stores cannot alias it
  if (grid.step == 1) {
    for (int64_t c = 0; c < grid.channels; ++c) {
      for (int64_t i = 0; i < grid.height; ++i, out += grid.width) {
        const I* row = in + c * grid.plane + i * grid.line;
        for_lanes(grid.width, [&](int64_t j, int n) { store(out + j, load(row + j, n), n); });
      }
    }
    return;
  }
  for (int64_t i = 0; i < grid.height; ++i, out += grid.width * grid.channels, in += grid.line) {
    if (grid.channels == 3) {
      interleave<3>(out, in, grid.plane, grid.width, 3);
    } else {
      interleave<0>(out, in, grid.plane, grid.width, grid.channels);
    }
  }
}

void to_tokens(const Tensor& tokens, const Tensor& images, const Patches& patches, const Tensor& keep) {
  const Grid grid(images, tokens, patches, keep);
  with_float_type(tokens.dtype(), "patchify", [&](auto tt) {
    with_float_type(images.dtype(), "patchify", [&](auto it) {
      auto* out = tokens.data<decltype(tt)>();
      const auto* in = images.data<decltype(it)>();
      parallel_for(tokens.dim(0) * grid.count, grid.tokens_per_task(), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) patch_to_token(out + t * grid.size, in + grid.corner(t), grid);
      });
    });
  });
}

template <class I, class T> void token_to_patch(I* out, const T* in, const Grid grid) {
  for (int64_t c = 0; c < grid.channels; ++c) {
    for (int64_t i = 0; i < grid.height; ++i) {
      for (int64_t j = 0; j < grid.width; ++j) {
        I& pixel = out[c * grid.plane + i * grid.line + j];
        const float value = static_cast<float>(in[c * grid.channel + (i * grid.width + j) * grid.step]);
        pixel = static_cast<I>(grid.keep ? static_cast<float>(pixel) + value : value);
      }
    }
  }
}

void to_images(const Tensor& images, const Tensor& tokens, const Patches& patches, const Tensor& keep) {
  const Grid grid(images, tokens, patches, keep);
  if (keep.defined()) fill(images, 0.0);
  with_float_type(images.dtype(), "patchify", [&](auto it) {
    with_float_type(tokens.dtype(), "patchify", [&](auto tt) {
      auto* out = images.data<decltype(it)>();
      const auto* in = tokens.data<decltype(tt)>();
      // Kept patches may repeat, so a sample is one task and its tokens add up in order; else each pixel is
      // written once.
      const int64_t grain = grid.keep ? grid.count : grid.tokens_per_task();
      parallel_for(images.dim(0) * grid.count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) token_to_patch(out + grid.corner(t), in + t * grid.size, grid);
      });
    });
  });
}

}  // namespace

const PatchifyKernels patchify_cpu{to_tokens, to_images};

}  // namespace tessera
