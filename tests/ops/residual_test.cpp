// The draws of stochastic depth.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/random.h"
#include "ops/residual/residual.h"

namespace tessera::test {

TEST_CASE("ops/residual: drop path factors as the official code draws them") {
  // cls_vit_global_pool.safetensors: the four calls' draws and the two rates 0.15 and 0.3.
  const float draws[12] = {0.10000073909759521f, 0.4007985591888428f,  0.919375479221344f,
                           0.2946978807449341f,  0.659497857093811f,   0.16878443956375122f,
                           0.189264714717865f,   0.15965211391448975f, 0.8142392039299011f,
                           0.8676830530166626f,  0.2072455883026123f,  0.4936879873275757f};
  for (int k = 0; k < 4; ++k) {
    const double rate = k < 2 ? 0.15 : 0.3;
    const Tensor u({3}, DType::f32);
    std::copy(draws + 3 * k, draws + 3 * k + 3, u.data<float>());
    const Tensor keep = drop_path_keep(u, rate);
    REQUIRE(keep.numel() == 3);
    for (int b = 0; b < 3; ++b) {
      const bool kept = static_cast<double>(draws[3 * k + b]) >= rate;
      CHECK(keep.data<float>()[b] == (kept ? 1.0f / static_cast<float>(1.0 - rate) : 0.0f));
    }
  }
}

TEST_CASE("ops/residual: drop path draws depend on the address alone and keep the promised share") {
  const int64_t batch = 4000;
  const Tensor all = drop_path_keep(7, 12, 0, batch, 5, 0.25), part = drop_path_keep(7, 12, 100, 8, 5, 0.25);
  for (int64_t b = 0; b < 8; ++b) CHECK(part.data<float>()[b] == all.data<float>()[100 + b]);
  int64_t kept = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const double u = static_cast<double>(
        Philox(7, Purpose::drop_path, 12, static_cast<uint64_t>(b)).uniform(5));
    CHECK((all.data<float>()[b] != 0.0f) == (u >= 0.25));
    kept += all.data<float>()[b] != 0.0f;
  }
  CHECK(std::fabs(static_cast<double>(kept) / static_cast<double>(batch) - 0.75) <
        0.03);  // 4.4 standard deviations
  CHECK_FALSE(drop_path_keep(7, 12, 0, batch, 5, 0.0).defined());
  CHECK_FALSE(drop_path_keep(all, 0.0).defined());
}

}  // namespace tessera::test
