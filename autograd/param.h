// Param, ParamStore, Scope: how a model owns its numbers.
// A model is nested structs; a parameter's name is the nesting.
// All parameters of a store lie in flat slabs of one layout:
// f32 master, compute copy (bf16 policy), f32 gradient.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/var.h"
#include "engine/tensor.h"

namespace tessera {

// Types a model computes with. Residual stream, statistics,
// losses and weight gradients are f32 under either policy.
struct Precision {
  DType compute = DType::f32;  // matrix operands and activations between them: f32 or bf16
  static constexpr Precision f32() { return {DType::f32}; }
  static constexpr Precision bf16() { return {DType::bf16}; }
};

// How a parameter starts. Numbers come from (seed, parameter name), so order of creation does not matter.
struct Init {
  enum Kind { constant, normal, uniform, table };
  Kind kind = constant;
  double value = 0;  // constant: the value; normal: standard deviation; uniform: bound of U(-bound, bound)
  std::function<void(float* out)> fill_table;  // table: writes numel values, row-major

  static Init zeros() { return {constant, 0, {}}; }
  static Init ones() { return {constant, 1, {}}; }
  static Init gaussian(double std) { return {normal, std, {}}; }
  static Init within(double bound) { return {uniform, bound, {}}; }
  static Init xavier(int64_t fan_in, int64_t fan_out);  // U(+-sqrt(6 / (fan_in + fan_out)))
  static Init from(std::function<void(float*)> f) { return {table, 0, std::move(f)}; }
};

enum class Decay : bool { no, yes };
// matrix: an operand of a matrix product, read in the compute dtype.
// vector: read as f32 (biases, norms, tokens, tables).
enum class Use { matrix, vector };

struct Param {
  std::string name;
  Shape shape;
  Use use = Use::vector;
  bool decay = false;   // weight decay applies
  bool trained = true;  // false: a buffer such as a fixed position table; no gradient, no group
  int depth = 0;        // layer id for layer-wise learning rates
  Init init;
  // Views of the slabs, defined after freeze(). `grad` is undefined when not trained.
  Tensor master, compute, grad;
  int64_t offset = 0;                 // elements from the start of each slab
  mutable bool grad_written = false;  // this step's gradient has been started: the next write adds to it

  // The parameter as an input of an op, in the dtype its use asks for. Throws before freeze().
  Var var() const;
  operator Var() const { return var(); }
};

class ParamStore {
 public:
  explicit ParamStore(Precision precision = {}, Device device = Device::cpu());
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  // Handles stay valid for the life of the store. Throws on a duplicate name or after freeze().
  Param& add(Param param);
  // Lays out the slabs (64-byte aligned segments) and runs every initialiser once.
  void freeze(uint64_t seed);
  bool frozen() const { return frozen_; }

  Precision precision() const { return precision_; }
  Device device() const { return device_; }
  const std::deque<Param>& params() const { return params_; }
  const Param* find(std::string_view name) const;
  int64_t trained_numel() const;  // elements, padding excluded
  int64_t numel() const;

  // Whole slabs, [elements with padding]. Padding is zero in all. compute() is master() itself under f32.
  const Tensor& master() const { return master_; }
  const Tensor& compute() const { return compute_; }
  const Tensor& grad() const { return grad_; }

  // Starts a step: nothing is zeroed, the first write of each gradient overwrites.
  // Later writes of the step (a second use, another micro-batch) add.
  void begin_gradients();
  // Ends a step: gradients that nothing wrote become zero.
  void finish_gradients();

  // Overwrites one parameter (any float dtype, same numel and shape). Follow with changed().
  void assign(const Param& param, const Tensor& value);
  // Masters were written: refreshes the compute copies.
  // `compute_fresh`: the writer (adamw) already wrote the compute slab.
  void changed(bool compute_fresh = false);

 private:
  Precision precision_;
  Device device_;
  std::deque<Param> params_;
  Tensor master_, compute_, grad_;
  bool frozen_ = false;
};

// A path in a store: Scope(store) / "blocks" / 0 / "attn" names "blocks.0.attn".
class Scope {
 public:
  explicit Scope(ParamStore& store) : store_(&store) {}
  Scope operator/(std::string_view part) const;
  Scope operator/(int64_t index) const;
  // The same path at another layer id (layer-wise learning rates).
  Scope at_depth(int depth) const;

  Param& param(std::string_view name, Shape shape, Init init, Decay decay, Use use) const;
  Param& buffer(std::string_view name, Shape shape, Init init) const;  // not trained

  const std::string& path() const { return path_; }
  int depth() const { return depth_; }
  ParamStore& store() const { return *store_; }
  DType compute_dtype() const { return store_->precision().compute; }

 private:
  ParamStore* store_;
  std::string path_;
  int depth_ = 0;
};

}  // namespace tessera
