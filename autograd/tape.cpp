#include "autograd/tape.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <span>
#include <unordered_map>
#include <utility>

#include "autograd/audit.h"
#include "autograd/param.h"
#include "engine/check.h"
#include "engine/copy.h"

namespace tessera {
namespace {

thread_local Tape* current_tape = nullptr;
thread_local bool results_unread = false;
std::atomic<uint64_t> next_serial{1};

struct Slot {
  Shape shape;
  DType dtype = DType::f32;
  Tensor grad;                   // undefined: nothing has come yet
  const Param* param = nullptr;  // its gradient lives in the slab
  int uses = 0;                  // of a parameter, not yet walked
  bool watched = false;          // kept for gradient_of
};

struct Input {
  int slot;
  Shape shape;
  DType dtype;
};

struct Node {
  const char* op;
  std::vector<Input> inputs;
  std::vector<int> outputs;
  BackwardMany backward;
  const Param* layer = nullptr;  // read last before it; known under audit
};

// Results for the audit, unless nobody reads them: they may be unwritten then, and have been shown before.
void show_results(const char* op, std::span<const Tensor> outs) {
  if (!audit::on() || results_unread) return;
  for (size_t i = 0; i < outs.size(); ++i) audit::output(op, outs[i], static_cast<int>(i));
}

}  // namespace

struct Tape::Impl {
  uint64_t serial = next_serial++;
  std::vector<Slot> slots;
  std::vector<Node> nodes;
  std::unordered_map<const Param*, int> parameter_slots;
  std::function<void(const Param&)> on_ready;
  bool used_up = false;

  int new_slot(Shape shape, DType dtype) {
    Slot slot;
    slot.shape = shape;
    slot.dtype = dtype;
    slots.push_back(std::move(slot));
    return static_cast<int>(slots.size()) - 1;
  }
  Slot& slot(int i) { return slots[static_cast<size_t>(i)]; }
  bool written(const Slot& s) const { return s.param ? s.param->grad_written : s.grad.defined(); }

  // slot += t, in place unless another handle sees the same storage.
  void add(Slot& s, const Tensor& t) {
    if (s.param != nullptr) {
      s.grad = s.param->grad;  // an earlier tape of the same step may have written it
    } else if (!s.grad.unique()) {
      s.grad = s.grad.clone("gradients");
    }
    accumulate(s.grad.reshape(t.shape()), t);
  }

  void run(Node& node) {
    std::vector<Tensor> dy(node.outputs.size());
    bool any = false;
    for (size_t i = 0; i < dy.size(); ++i) {
      Slot& s = slot(node.outputs[i]);
      dy[i] = s.watched ? s.grad : std::exchange(s.grad, Tensor());
      any = any || dy[i].defined();
    }
    if (any) {
      Grads dx;
      dx.grads.resize(node.inputs.size());
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        dx.grads[i].slot_ = node.inputs[i].slot;
        dx.grads[i].shape_ = node.inputs[i].shape;
        dx.grads[i].dtype_ = node.inputs[i].dtype;
        dx.grads[i].tape_ = tape;
      }
      node.backward(dy, dx);
      dy.clear();
      for (Grad& g : dx.grads) {
        if (g.slot_ >= 0 && g.pending_.defined()) add(slot(g.slot_), g.pending_);
      }
      if (audit::on()) show_gradients(node);
    }
    node.backward = nullptr;  // what the op saved dies here
    for (const Input& in : node.inputs) {
      if (in.slot < 0 || slot(in.slot).param == nullptr) continue;
      Slot& s = slot(in.slot);
      if (--s.uses == 0 && on_ready) on_ready(*s.param);
    }
  }

  // What a node has given to its inputs, for the audit; a fault goes into the first of them.
  void show_gradients(const Node& node) {
    bool first = true;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].slot < 0) continue;
      const Slot& s = slot(node.inputs[i].slot);
      const Tensor& g = s.param != nullptr ? s.param->grad : s.grad;
      if (!g.defined() || (s.param != nullptr && !s.param->grad_written)) continue;
      audit::gradient(node.op, node.layer, static_cast<int>(i), s.param, g, first);
      first = false;
    }
  }

  Tape* tape = nullptr;
};

Tensor Grad::overwrite() {
  if (slot_ < 0) return Tensor(shape_, dtype_, Device::cpu(), "workspace");
  Slot& s = tape_->impl_->slot(slot_);
  if (!tape_->impl_->written(s)) {
    bool accumulate = false;
    return add_into(&accumulate);
  }
  TS_CHECK(!pending_.defined(), "tape: an op wrote the gradient of one input twice");
  pending_ = Tensor(shape_, s.dtype, Device::cpu(), "gradients");
  return pending_;
}

Tensor Grad::add_into(bool* accumulate) {
  TS_CHECK(slot_ >= 0, "tape: add_into of an input that wants no gradient");
  Slot& s = tape_->impl_->slot(slot_);
  *accumulate = tape_->impl_->written(s);
  if (s.param != nullptr) {
    s.grad = s.param->grad;
    s.param->grad_written = true;
  } else if (!*accumulate) {
    s.grad = Tensor(s.shape, s.dtype, Device::cpu(), "gradients");
  } else if (!s.grad.unique()) {
    s.grad = s.grad.clone("gradients");
  }
  return s.grad.reshape(shape_);
}

void Grad::give(const Tensor& t) {
  if (slot_ < 0) return;
  Slot& s = tape_->impl_->slot(slot_);
  TS_CHECK(t.numel() == s.shape.numel() && t.dtype() == s.dtype, "tape: gradient {} {} for a value {} {}",
           t.shape().str(), name(t.dtype()), s.shape.str(), name(s.dtype));
  if (s.param != nullptr) {
    bool accumulate_it = false;
    const Tensor into = add_into(&accumulate_it);
    accumulate_it ? accumulate(into, t.reshape(into.shape())) : copy(into, t.reshape(into.shape()));
  } else if (s.grad.defined()) {
    tape_->impl_->add(s, t);
  } else {
    s.grad = t.reshape(s.shape);
  }
}

Tape::Tape() : impl_(std::make_unique<Impl>()), outer_(current_tape) {
  impl_->tape = this;
  current_tape = this;
}
Tape::~Tape() { current_tape = outer_; }
Tape* Tape::current() { return current_tape; }

bool Tape::recording(std::initializer_list<Var> inputs) {
  return current_tape != nullptr &&
         std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.slot_ >= 0; });
}

Var Tape::record(const char* op, std::initializer_list<Var> inputs, Tensor out, Backward backward) {
  if (!recording(inputs)) {
    show_results(op, {&out, 1});
    return Var(std::move(out));
  }
  return record_many(
      op, inputs, {std::move(out)},
      [f = std::move(backward)](const std::vector<Tensor>& dy, Grads& dx) { f(dy[0], dx); })[0];
}

std::vector<Var> Tape::record_many(const char* op, const std::vector<Var>& inputs, std::vector<Tensor> outs,
                                   BackwardMany backward) {
  show_results(op, outs);
  std::vector<Var> results;
  for (Tensor& out : outs) results.emplace_back(std::move(out));
  Tape* tape = current_tape;
  if (tape == nullptr ||
      std::none_of(inputs.begin(), inputs.end(), [](const Var& v) { return v.slot_ >= 0; }))
    return results;
  Impl& impl = *tape->impl_;
  TS_CHECK(!impl.used_up, "tape: {} recorded after backward; make a new Tape for the next step", op);

  Node node{op, {}, {}, std::move(backward), nullptr};
  for (const Var& v : inputs) {
    if (v.slot_ >= 0) {
      TS_CHECK(v.tape_ == impl.serial,
               "tape: {} was given a value of another tape; detach() it or keep its tape", op);
      if (impl.slot(v.slot_).param != nullptr) ++impl.slot(v.slot_).uses;
    }
    const bool defined = v.defined();
    node.inputs.push_back({v.slot_, defined ? v.shape() : Shape(), defined ? v.dtype() : DType::f32});
  }
  for (Var& r : results) {
    r.slot_ = impl.new_slot(r.shape(), r.dtype());
    r.tape_ = impl.serial;
    node.outputs.push_back(r.slot_);
  }
  if (audit::on()) node.layer = audit::last_read();
  impl.nodes.push_back(std::move(node));
  return results;
}

Var Tape::parameter(const Param& param, const Tensor& value) {
  if (audit::on()) audit::reads(param);
  Var v(value);
  Tape* tape = current_tape;
  if (tape == nullptr || !param.trained) return v;
  Impl& impl = *tape->impl_;
  auto [it, is_new] = impl.parameter_slots.try_emplace(&param, -1);
  if (is_new) {
    it->second = impl.new_slot(param.shape, DType::f32);
    impl.slot(it->second).param = &param;
  }
  v.slot_ = it->second;
  v.tape_ = impl.serial;
  return v;
}

Var Tape::watch(const Tensor& value) {
  Var v(value);
  v.slot_ = impl_->new_slot(value.shape(), value.dtype());
  v.tape_ = impl_->serial;
  impl_->slot(v.slot_).watched = true;
  return v;
}

void Tape::backward(const Var& loss, float seed) {
  TS_CHECK(loss.numel() == 1 && loss.dtype() == DType::f32,
           "tape: backward from {} {}, wanted one f32 number", loss.shape().str(), name(loss.dtype()));
  const Tensor gradient(loss.shape(), DType::f32, loss.device(), "gradients");
  fill(gradient, static_cast<double>(seed));
  backward(std::vector<Var>{loss}, {gradient});
}

void Tape::backward(const std::vector<Var>& results, const std::vector<Tensor>& gradients) {
  Impl& impl = *impl_;
  TS_CHECK(!impl.used_up, "tape: backward a second time; make a new Tape for the next step");
  TS_CHECK(results.size() == gradients.size(), "tape: {} results, {} gradients", results.size(),
           gradients.size());
  const memory::LabelScope label("gradients");
  const NoGrad nothing_records;
  for (const Var& result : results) {
    TS_CHECK(result.slot_ >= 0, "tape: backward from a constant: nothing that needs a gradient led to it");
    TS_CHECK(result.tape_ == impl.serial, "tape: backward from a value of another tape");
  }
  impl.used_up = true;
  for (size_t i = 0; i < results.size(); ++i) {
    Grad g;
    g.tape_ = this;
    g.slot_ = results[i].slot_;
    g.shape_ = results[i].shape();
    g.give(gradients[i]);
  }
  while (!impl.nodes.empty()) {
    impl.run(impl.nodes.back());
    impl.nodes.pop_back();
  }
}

Tensor Tape::gradient_of(const Var& watched) const {
  TS_CHECK(watched.slot_ >= 0 && watched.tape_ == impl_->serial,
           "tape: gradient_of a Var that this tape does not watch");
  return impl_->slot(watched.slot_).grad;
}

void Tape::on_ready(std::function<void(const Param&)> f) { impl_->on_ready = std::move(f); }

std::string Tape::print() const {
  std::string text;
  for (const Node& node : impl_->nodes) {
    std::string outs, ins;
    for (int o : node.outputs) outs += fmt::format("{}%{}", outs.empty() ? "" : ", ", o);
    for (const Input& in : node.inputs) {
      ins += ins.empty() ? "" : ", ";
      const Param* p = in.slot >= 0 ? impl_->slot(in.slot).param : nullptr;
      ins += in.slot < 0 ? "const" : p != nullptr ? p->name : fmt::format("%{}", in.slot);
    }
    const Slot& s = impl_->slot(node.outputs[0]);
    text += fmt::format("{} = {}({}) {} {}\n", outs, node.op, ins, s.shape.str(), name(s.dtype));
  }
  return text;
}

ResultsUnread::ResultsUnread() { results_unread = true; }
ResultsUnread::~ResultsUnread() { results_unread = false; }
bool ResultsUnread::now() { return results_unread; }

NoGrad::NoGrad() : outer_(current_tape) { current_tape = nullptr; }
NoGrad::~NoGrad() { current_tape = outer_; }

}  // namespace tessera
