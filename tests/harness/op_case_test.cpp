// Asks every op's table every question, one doctest subcase an op;
// and asks the harness whether it can say no.
#include <doctest/doctest.h>

#include "autograd/tape.h"
#include "engine/copy.h"
#include "ops/layer_norm/layer_norm.h"
#include "tests/harness/op_case.h"

namespace tessera::test {

TEST_CASE("ops: every case of every table") {
  for (const OpCase* op : op_cases()) {
    DOCTEST_SUBCASE(op->op.c_str()) {
      for (const Case& c : op->cases) {
        for (const std::string& complaint : ask(*op, c)) FAIL_CHECK(complaint);
      }
      for (const std::string& complaint : ask_rejects(*op)) FAIL_CHECK(complaint);
      CHECK_FALSE(op->cases.empty());
    }
  }
}

TEST_CASE("ops: the harness notices what it should") {
  const auto copy_op = [](int64_t leave_out, int64_t overrun) {
    return [=](const Vars& in, DType) {
      const Tensor y(in[0].shape(), DType::f32);
      for (int64_t i = 0; i < y.numel() - leave_out + overrun; ++i)
        y.data<float>()[i] = i < y.numel() ? in[0].value().data<float>()[i] : 0;
      return Vars{Var(y)};
    };
  };
  const auto same = [](const Arrays& in) { return in; };
  OpCase op;
  op.op = "planted";
  Case good{"copy", {fixed({4, 5})}, copy_op(0, 0), same};
  good.bf16 = good.gradient = false;
  CHECK(ask(op, good).empty());

  Case unwritten = good;
  unwritten.call = copy_op(1, 0);
  CHECK_FALSE(ask(op, unwritten).empty());

  Case outside = good;
  outside.call = copy_op(0, 1);
  CHECK_FALSE(ask(op, outside).empty());

  Case wrong = good;
  wrong.reference = [](Arrays in) {
    in[0][3] += 1e-3;
    return in;
  };
  CHECK_FALSE(ask(op, wrong).empty());

  // A gradient that is off by a factor:
  // epsilon of the forward differs from that of the reference's derivative.
  Case gradient{
      "layer_norm",
      {vector({3, 8}), vector({8}), vector({8})},
      [](const Vars& in, DType) { return Vars{layer_norm(in[0], in[1], in[2], 1e-6f, DType::f32)}; },
      [](const Arrays& in) {
        Array y(in[0].shape);
        for (int64_t i = 0; i < 24; ++i) y[i] = in[0][i];
        return Arrays{y};
      }};
  gradient.bf16 = false;
  CHECK_FALSE(ask(op, gradient).empty());

  // A backward that overwrites where it should add is right as long as the input is used once.
  Case twice{
      "copy",
      {vector({4, 5})},
      [](const Vars& in, DType) {
        return Vars{Tape::record("copy", {in[0]}, in[0].value().clone(), [](const Tensor& dy, Grads& dx) {
          bool accumulate = false;
          copy(dx[0].add_into(&accumulate), dy);
        })};
      },
      same};
  twice.bf16 = false;
  CHECK_FALSE(ask(op, twice).empty());
  CHECK_FALSE(ask_rejects(op).empty());
}

}  // namespace tessera::test
