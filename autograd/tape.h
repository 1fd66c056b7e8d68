// Tape: what was computed, in order. backward() walks it from the end and frees as it goes.
// One tape per thread, active in its scope; without one (or under NoGrad) ops compute and record nothing.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace tessera {

struct Param;
class Tape;

// Where an op's backward writes the gradient of one input.
// Exactly one of the three writers is used, at most once.
class Grad {
 public:
  bool wanted() const { return slot_ >= 0; }  // false: the input is a constant, skip the work
  // A tensor of the input's shape that the op overwrites completely;
  // the tape adds it up if it is not the first.
  // Of an input that wants none: a scratch tensor, for kernels that compute several gradients at once.
  Tensor overwrite();
  // The destination itself. `*accumulate` false: overwrite it completely; true: add to it.
  Tensor add_into(bool* accumulate);
  // Hands over a finished gradient without a copy.
  // `t` has the input's numel and dtype; nobody writes to it afterwards.
  void give(const Tensor& t);

 private:
  friend class Tape;
  friend struct Grads;
  Tape* tape_ = nullptr;
  int slot_ = -1;
  Shape shape_;  // of the input as the op saw it
  DType dtype_ = DType::f32;
  Tensor pending_;  // a temporary that the tape adds to the slot after the op returns
};

struct Grads {
  Grad& operator[](int input) { return grads[static_cast<size_t>(input)]; }
  std::vector<Grad> grads;
};

using Backward = std::function<void(const Tensor& dy, Grads& dx)>;
using BackwardMany = std::function<void(const std::vector<Tensor>& dy,
                                        Grads& dx)>;  // undefined dy[i]: no gradient came

class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Called by every differentiable op:
  // `out` is the result, `backward` computes input gradients from its gradient.
  // The closure should capture only tensors its backward needs. Gradients have the dtype of the value they
  // belong to, except parameters', which are f32 parts of the slab. `op` is static text.
  static Var record(const char* op, std::initializer_list<Var> inputs, Tensor out, Backward backward);
  static std::vector<Var> record_many(const char* op, const std::vector<Var>& inputs,
                                      std::vector<Tensor> outs, BackwardMany backward);
  // True if any input would receive a gradient now: an op may skip saving things otherwise.
  static bool recording(std::initializer_list<Var> inputs);

  // A Var that stands for a parameter: its gradient goes to `param.grad`.
  static Var parameter(const Param& param, const Tensor& value);
  // A Var whose gradient can be read with gradient_of after backward (gradient checks, recompute).
  Var watch(const Tensor& value);

  // Walks back from `loss` [1] (f32), whose own gradient is `seed`. Uses the tape up.
  void backward(const Var& loss, float seed = 1.0f);
  // The same from several results with given gradients.
  void backward(const std::vector<Var>& results, const std::vector<Tensor>& gradients);
  // Gradient of a watched Var after backward; undefined if none arrived.
  Tensor gradient_of(const Var& watched) const;

  // Called in backward when the last use of a parameter has been walked.
  void on_ready(std::function<void(const Param&)> f);

  // One line per node: %17 = layer_norm(%12, %3, %4) [256,197,768] bf16
  std::string print() const;

  static Tape* current();  // nullptr: nothing records

 private:
  friend class Grad;
  friend class NoGrad;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  Tape* outer_ = nullptr;
};

// While alive, results on this thread are recorded but never read (autograd/recompute.h): an op may leave its
// result unwritten.
class ResultsUnread {
 public:
  ResultsUnread();
  ~ResultsUnread();
  ResultsUnread(const ResultsUnread&) = delete;
  static bool now();
};

// While alive, nothing is recorded on this thread.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;

 private:
  Tape* outer_;
};

}  // namespace tessera
