// CPU half of patchify. A patch moves in runs: patch_w pixels of one picture row, side by side in the
// picture, one or C apart in the token.
#include <algorithm>

#include "engine/indices.h"
#include "engine/parallel.h"
#include "engine/simd.h"
#include "ops/patchify/kernels.h"

namespace tessera {
namespace {

constexpr int64_t kGrain = 16384;  // elements

struct Grid {
  int64_t batch, channels, height, width, count;
  Patches patch;
  const int32_t* keep;

  Grid(const Tensor& images, const Tensor& tokens, const Patches& patches, const Tensor& kept)
      : batch(images.dim(0)),
        channels(images.dim(1)),
        height(images.dim(2)),
        width(images.dim(3)),
        count(tokens.dim(1)),
        patch(patches),
        keep(kept.defined() ? kept.data<int32_t>() : nullptr) {
    if (keep) check_indices("patchify", "keep", kept, (height / patch.height) * (width / patch.width));
  }
  int64_t token_size() const { return channels * patch.height * patch.width; }
  int64_t tokens_per_task() const { return 1 + kGrain / std::max<int64_t>(1, token_size()); }

  // Calls f(offset in tokens, offset in images) for the runs of token t = b * count + k.
  template <class F> void for_runs(int64_t t, F&& f) const {
    const int64_t b = t / count, n = keep ? keep[t] : t % count, columns = width / patch.width;
    const int64_t top = n / columns * patch.height, left = n % columns * patch.width;
    const bool first = patch.order == PatchOrder::channel_first;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < patch.height; ++i) {
        const int64_t in_token = first ? (c * patch.height + i) * patch.width
                                       : i * patch.width * channels + c;
        f(t * token_size() + in_token, ((b * channels + c) * height + top + i) * width + left);
      }
    }
  }
  int64_t step() const { return patch.order == PatchOrder::channel_first ? 1 : channels; }
};

void to_tokens(const Tensor& tokens, const Tensor& images, const Patches& patches, const Tensor& keep) {
  const Grid grid(images, tokens, patches, keep);
  const int64_t length = patches.width, step = grid.step();
  with_float_type(tokens.dtype(), "patchify", [&](auto tt) {
    with_float_type(images.dtype(), "patchify", [&](auto it) {
      using T = decltype(tt);
      T* out = tokens.data<T>();
      const auto* in = images.data<decltype(it)>();
      parallel_for(grid.batch * grid.count, grid.tokens_per_task(), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          grid.for_runs(t, [&](int64_t token, int64_t pixel) {
            if (step == 1) {
              for_lanes(length,
                        [&](int64_t j, int n) { store(out + token + j, load(in + pixel + j, n), n); });
            } else {
              for (int64_t j = 0; j < length; ++j)
                out[token + j * step] = static_cast<T>(static_cast<float>(in[pixel + j]));
            }
          });
        }
      });
    });
  });
}

void to_images(const Tensor& images, const Tensor& tokens, const Patches& patches, const Tensor& keep) {
  const Grid grid(images, tokens, patches, keep);
  const int64_t length = patches.width, step = grid.step(),
                sample = images.numel() / std::max<int64_t>(1, grid.batch);
  with_float_type(images.dtype(), "patchify", [&](auto it) {
    with_float_type(tokens.dtype(), "patchify", [&](auto tt) {
      using I = decltype(it);
      I* out = images.data<I>();
      const auto* in = tokens.data<decltype(tt)>();
      // Kept patches may repeat, so a sample is one task and its tokens add up in order; otherwise each patch
      // is written once.
      const bool sums = grid.keep != nullptr;
      const int64_t grain = sums ? grid.count : grid.tokens_per_task();
      if (sums) {
        parallel_for(grid.batch, 1,
                     [&](int64_t b0, int64_t b1) { std::fill(out + b0 * sample, out + b1 * sample, I{}); });
      }
      parallel_for(grid.batch * grid.count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          grid.for_runs(t, [&](int64_t token, int64_t pixel) {
            for (int64_t j = 0; j < length; ++j) {
              const float before = sums ? static_cast<float>(out[pixel + j]) : 0.0f;
              out[pixel + j] = static_cast<I>(before + static_cast<float>(in[token + j * step]));
            }
          });
        }
      });
    });
  });
}

}  // namespace

const PatchifyKernels patchify_cpu{to_tokens, to_images};

}  // namespace tessera
