// What ops/gather_tokens says of a wrong index.
#include <doctest/doctest.h>

#include <string>

#include "engine/copy.h"
#include "ops/gather_tokens/gather_tokens.h"

namespace tessera::test {

TEST_CASE("ops/gather_tokens: an index out of range is named with its place") {
  const Tensor x({2, 7, 4}, DType::f32), ids({2, 3}, DType::i32);
  fill(x, 1.0);
  for (int32_t wrong : {7, -1}) {
    fill(ids, 0.0);
    ids.data<int32_t>()[4] = wrong;
    std::string said;
    try {
      gather_tokens(Var(x), ids);
    } catch (const Error& e) {
      said = e.what();
    }
    CHECK(said.find("gather_tokens: ids[1, 1] is " + std::to_string(wrong) + ", wanted 0 to 6") == 0);
  }
}

}  // namespace tessera::test
