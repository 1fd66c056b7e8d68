// What a table of cases cannot ask of ops/attention: memory that grows with N, not with its square.
#include <doctest/doctest.h>

#include "autograd/tape.h"
#include "engine/parallel.h"
#include "ops/attention/attention.h"
#include "tests/harness/op_case.h"

namespace tessera::test {
namespace {

// Bytes beside qkv and dy, at the peak of forward and backward of one head.
int64_t extra_bytes(int64_t n, int64_t width, DType t) {
  const Tensor qkv = make_tensor(activation({1, n, 3 * width}), t, 1),
               dy = make_tensor(activation({1, n, width}), t, 2);
  const int64_t before = memory::usage().now;
  memory::reset_peak();
  Tape tape;
  const Var y = attention(tape.watch(qkv), 1, 0.1f);
  tape.backward({y}, {dy});
  return memory::usage().peak - before;
}

}  // namespace

// One N x N matrix of bf16 would make it at least 2.5 times as much: at 2048 tokens such a matrix holds
// 4 KB a token, and all that is linear holds about as much.
TEST_CASE("ops/attention: twice the tokens take twice the memory, at every head width") {
  const int before = threads();
  set_threads(1);
  for (const int64_t width : {32, 48, 64, 72, 80, 96}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      CAPTURE(width);
      CAPTURE(name(t));
      const auto once = static_cast<double>(extra_bytes(1024, width, t)),
                 twice = static_cast<double>(extra_bytes(2048, width, t));
      CHECK(twice / once < 2.1);
      CHECK(twice / once > 1.88);  // size classes round by up to a sixteenth
    }
  }
  set_threads(before);
}

}  // namespace tessera::test
