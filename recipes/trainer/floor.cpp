#include "recipes/trainer/floor.h"

namespace tessera {

Floor step_floor(Recipe& recipe, const TrainSettings& train) {
  constexpr double kForwardAndBackward = 3;
  const auto pictures = static_cast<double>(train.batch * train.accumulate);
  const auto trained = static_cast<double>(recipe.params().trained_numel());
  const bool copies = train.compute().compute != DType::f32;
  return {2 * kForwardAndBackward * recipe.multiply_adds() * pictures, trained * (copies ? 30 : 28)};
}

}  // namespace tessera
