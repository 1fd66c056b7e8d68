#include "autograd/param.h"

#include <cmath>

#include "autograd/tape.h"
#include "engine/check.h"
#include "engine/copy.h"
#include "engine/parallel.h"
#include "engine/random.h"

namespace tessera {
namespace {

constexpr int64_t kSegment = 32;  // elements: 64 bytes of bf16, so every segment starts aligned in every slab

void initialise(const Param& p, uint64_t seed) {
  float* out = p.master.data<float>();
  const int64_t n = p.shape.numel();
  const Philox random(seed, Purpose::init, name_address(p.name), 0);
  const double v = p.init.value;
  switch (p.init.kind) {
    case Init::constant: fill(p.master, v); break;
    case Init::table: p.init.fill_table(out); break;
    case Init::normal:
      parallel_for(n, 1 << 14, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          out[i] = static_cast<float>(v * random.normal(static_cast<uint64_t>(i)));
      });
      break;
    case Init::uniform:
      parallel_for(n, 1 << 14, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          out[i] = static_cast<float>(random.uniform(static_cast<uint64_t>(i), -v, v));
      });
      break;
  }
}

}  // namespace

Init Init::xavier(int64_t fan_in, int64_t fan_out) {
  return within(std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)));
}

Var Param::var() const {
  TS_CHECK(master.defined(), "param: {} is read before ParamStore::freeze()", name);
  return Tape::parameter(*this, use == Use::matrix ? compute : master);
}

ParamStore::ParamStore(Precision precision, Device device) : precision_(precision), device_(device) {
  TS_CHECK(is_float(precision.compute), "params: compute dtype {}, wanted f32 or bf16",
           name(precision.compute));
}

Param& ParamStore::add(Param param) {
  TS_CHECK(!frozen_, "params: {} added after freeze()", param.name);
  TS_CHECK(find(param.name) == nullptr, "params: {} exists twice", param.name);
  return params_.emplace_back(std::move(param));
}

void ParamStore::freeze(uint64_t seed) {
  TS_CHECK(!frozen_, "params: freeze() called twice");
  frozen_ = true;
  int64_t total = 0;
  for (Param& p : params_) {
    p.offset = total;
    total += (p.shape.numel() + kSegment - 1) / kSegment * kSegment;
  }
  master_ = Tensor({total}, DType::f32, device_, "parameters");
  grad_ = Tensor({total}, DType::f32, device_, "parameter gradients");
  compute_ = precision_.compute == DType::f32
                 ? master_
                 : Tensor({total}, precision_.compute, device_, "compute copies");
  fill(master_, 0);
  fill(grad_, 0);
  for (Param& p : params_) {
    const int64_t end = p.offset + p.shape.numel();
    p.master = master_.slice(p.offset, end).reshape(p.shape);
    p.compute = compute_.slice(p.offset, end).reshape(p.shape);
    if (p.trained) p.grad = grad_.slice(p.offset, end).reshape(p.shape);
    initialise(p, seed);
  }
  changed();
}

const Param* ParamStore::find(std::string_view name) const {
  for (const Param& p : params_) {
    if (p.name == name) return &p;
  }
  return nullptr;
}

int64_t ParamStore::trained_numel() const {
  int64_t n = 0;
  for (const Param& p : params_) n += p.trained ? p.shape.numel() : 0;
  return n;
}

int64_t ParamStore::numel() const {
  int64_t n = 0;
  for (const Param& p : params_) n += p.shape.numel();
  return n;
}

void ParamStore::begin_gradients() {
  for (const Param& p : params_) p.grad_written = false;
}

void ParamStore::finish_gradients() {
  for (const Param& p : params_) {
    if (p.trained && !p.grad_written) fill(p.grad, 0);
    p.grad_written = true;
  }
}

void ParamStore::assign(const Param& param, const Tensor& value) {
  TS_CHECK(frozen_, "params: {} assigned before freeze()", param.name);
  if (value.shape() != param.shape) {
    fail(ErrorKind::checkpoint, "{}: the model has {}, the file {}", param.name, param.shape.str(),
         value.shape().str());
  }
  copy(param.master, value.to(DType::f32));
}

void ParamStore::changed(bool compute_fresh) {
  TS_CHECK(frozen_, "params: changed() before freeze()");
  if (precision_.compute != DType::f32 && !compute_fresh) cast(compute_, master_);
}

Scope Scope::operator/(std::string_view part) const {
  Scope s = *this;
  s.path_ = path_.empty() ? std::string(part) : path_ + "." + std::string(part);
  return s;
}

Scope Scope::operator/(int64_t index) const { return *this / std::to_string(index); }

Scope Scope::at_depth(int depth) const {
  Scope s = *this;
  s.depth_ = depth;
  return s;
}

Param& Scope::param(std::string_view name, Shape shape, Init init, Decay decay, Use use) const {
  Param p;
  p.name = (*this / name).path_;
  p.shape = shape;
  p.use = use;
  p.decay = decay == Decay::yes;
  p.depth = depth_;
  p.init = std::move(init);
  return store_->add(std::move(p));
}

Param& Scope::buffer(std::string_view name, Shape shape, Init init) const {
  Param& p = param(name, shape, std::move(init), Decay::no, Use::vector);
  p.trained = false;
  return p;
}

}  // namespace tessera
