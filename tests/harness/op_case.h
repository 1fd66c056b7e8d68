// OpCase: one table per op (tests/ops/<op>.cpp), from which the harness asks these questions:
//   1 forward against the double-precision reference, f32 and bf16
//   2 gradients against central differences of that reference; twice as much where used twice
//   3 (the reference is plain loops in double: no engine code)
//   4 wrong shapes and dtypes throw, and the text names the op
//   5 guard bytes intact, every output element written
//   6 the same bits with 1, 2 and 4 threads
//   7 the bench row: ms, GB/s, GFLOP/s, share of roof
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace tessera::test {

// An array in double, as the reference sees inputs and returns outputs.
struct Array {
  Shape shape;
  std::vector<double> v;
  Array() = default;
  explicit Array(Shape s) : shape(s), v(static_cast<size_t>(s.numel()), 0.0) {}
  double& operator[](int64_t i) { return v[static_cast<size_t>(i)]; }
  double operator[](int64_t i) const { return v[static_cast<size_t>(i)]; }
  int64_t dim(int i) const { return shape[i]; }
};
using Arrays = std::vector<Array>;
using Vars = std::vector<Var>;

// One input of a case. Build it with the functions below.
struct In {
  Shape shape;
  DType dtype = DType::f32;
  bool follows = false;  // takes the dtype under test (f32, then bf16)
  bool differentiable = false;
  std::function<double(int64_t)> value;  // element i; default: standard normal numbers
  In filled(std::function<double(int64_t)> f) const {
    In r = *this;
    r.value = std::move(f);
    return r;
  }
  In constant() const {
    In r = *this;
    r.differentiable = false;
    return r;
  }
};
In activation(Shape shape);  // f32 or bf16, differentiable
In vector(Shape shape);      // always f32, differentiable (biases, norms, tokens, the residual stream)
In fixed(Shape shape);       // always f32, no gradient
In index(Shape shape, std::function<double(int64_t)> value);  // i32
In pixels(Shape shape);                                       // u8, 0..255

struct Case {
  std::string name;
  std::vector<In> inputs;
  // Runs the op. `t` is the dtype under test: for ops that are told their output dtype.
  std::function<Vars(const Vars& in, DType t)> call;
  // The formula, in double, in plain loops.
  std::function<Arrays(const Arrays& in)> reference;
  bool bf16 = true;               // false: an op that has no bf16 form
  bool gradient = true;           // false: an op without gradient
  double difference_step = 1e-4;  // of question 2
  // Multiplies the tolerances of questions 1 and 2; needs a reason.
  double slack = 1.0;
  const char* slack_reason = "";
};

struct Bench {
  std::string name;  // "ViT-B LN"
  std::vector<In> inputs;
  std::function<Vars(const Vars& in, DType t)> call;
  double bytes =
      0;  // moved by the forward pass at f32; bf16 rows scale by what follows the dtype if bytes_bf16 is 0
  double bytes_bf16 = 0;
  double flops = 0;
  bool backward = true;  // also a row for the backward pass (counted as 2x bytes and flops)
  bool bf16 = true;
};

struct OpCase {
  std::string op;
  std::vector<Case> cases;
  std::vector<std::pair<std::string, std::function<void()>>>
      rejects;  // each must throw an Error whose text names the op
  std::vector<Bench> benches;

  OpCase& add(Case c) {
    cases.push_back(std::move(c));
    return *this;
  }
  OpCase& reject(std::string what, std::function<void()> f) {
    rejects.emplace_back(std::move(what), std::move(f));
    return *this;
  }
  OpCase& bench(Bench b) {
    benches.push_back(std::move(b));
    return *this;
  }
};

// All tables, sorted by name. Test files are linked as objects,
// so registration by static object is safe here.
std::vector<const OpCase*> op_cases();
struct RegisterOp {
  RegisterOp(const char* op, void (*describe)(OpCase&));
};

// A tensor that holds `in`, in dtype t where it follows;
// and an array of what the tensor really holds (after rounding).
Tensor make_tensor(const In& in, DType t, uint64_t seed);
Array to_array(const Tensor& t);

// Asks one case every question; returns complaints (empty: all is well).
std::vector<std::string> ask(const OpCase& op, const Case& c);
std::vector<std::string> ask_rejects(const OpCase& op);

}  // namespace tessera::test

// OPS("layer_norm") { op.add({...}); }
#define TS_OPS_CAT2(a, b) a##b
#define TS_OPS_CAT(a, b) TS_OPS_CAT2(a, b)
#define OPS(op_name)                                                                                         \
  static void TS_OPS_CAT(describe_, __LINE__)(::tessera::test::OpCase & op);                                 \
  static const ::tessera::test::RegisterOp TS_OPS_CAT(register_, __LINE__)(op_name,                          \
                                                                           TS_OPS_CAT(describe_, __LINE__)); \
  static void TS_OPS_CAT(describe_, __LINE__)([[maybe_unused]] ::tessera::test::OpCase & op)
