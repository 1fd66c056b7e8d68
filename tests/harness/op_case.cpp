#include "tests/harness/op_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "engine/copy.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/random.h"

namespace tessera::test {
namespace {

std::vector<OpCase>& tables() {
  static std::vector<OpCase> t;
  return t;
}

// How far a result may be from the double-precision reference, relative to the reference's own size: the norm
// of the difference over the norm of the reference, and the largest difference over the largest element. bf16
// keeps 8 bits, so one rounding is up to 2^-9 = 0.002 of an element.
struct Tolerance {
  double norm, largest;
};
Tolerance forward_tolerance(DType d) {
  return d == DType::bf16 ? Tolerance{4e-3, 1e-2} : Tolerance{2e-6, 8e-6};
}
Tolerance gradient_tolerance(DType d) {
  return d == DType::bf16 ? Tolerance{1e-2, 2e-2} : Tolerance{5e-6, 2e-5};
}

// "" when got is close enough to want.
std::string compare(const Array& got, const Array& want, Tolerance tol, double slack) {
  if (got.shape != want.shape) return fmt::format("shape {}, wanted {}", got.shape.str(), want.shape.str());
  double diff2 = 0, want2 = 0, max_diff = 0, max_want = 0;
  for (int64_t i = 0; i < want.shape.numel(); ++i) {
    if (std::isnan(got[i]) != std::isnan(want[i]))
      return fmt::format("element {} is {}, wanted {} (never written?)", i, got[i], want[i]);
    if (std::isnan(want[i]) || got[i] == want[i]) {
      continue;  // equal infinities included
    }
    const double d = std::fabs(got[i] - want[i]);
    diff2 += d * d;
    max_diff = std::max(max_diff, d);
  }
  for (double w : want.v) {
    if (!std::isfinite(w)) continue;
    want2 += w * w;
    max_want = std::max(max_want, std::fabs(w));
  }
  const double norm = std::sqrt(diff2), norm_limit = slack * tol.norm * std::sqrt(want2) + 1e-30;
  const double limit = slack * tol.largest * max_want + 1e-30;
  if (norm <= norm_limit && max_diff <= limit) return "";
  return fmt::format("difference norm {:.3g} (limit {:.3g}), largest {:.3g} (limit {:.3g})", norm, norm_limit,
                     max_diff, limit);
}

struct Run {
  std::vector<Tensor> outputs;
  std::vector<Tensor> gradients;  // per input; undefined where none is due
};

// dL/d(output) of element i: fixed, of both signs, exact in bf16.
double weight(size_t output, int64_t i) {
  const Philox random(11, Purpose::test, 1, output);
  return (static_cast<double>(random.below(static_cast<uint64_t>(i), 255)) - 127.0) / 64.0;
}

// `uses` > 1: calls the op so often on one tape, each with the same output gradients.
Run run(const Case& c, const std::vector<Tensor>& inputs, DType t, int uses = 1) {
  Run r;
  Tape tape;
  Vars vars;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const bool watched = c.gradient && c.inputs[i].differentiable;
    vars.push_back(watched ? tape.watch(inputs[i]) : Var(inputs[i]));
  }
  Vars outs;
  for (int use = 0; use < uses; ++use) {
    for (const Var& o : c.call(vars, t)) outs.push_back(o);
  }
  for (const Var& o : outs) r.outputs.push_back(o.value());
  if (!c.gradient) return r;
  std::vector<Tensor> dy;
  for (size_t k = 0; k < outs.size(); ++k) {
    Array w(outs[k].shape());
    for (int64_t i = 0; i < w.shape.numel(); ++i)
      w[i] = weight(k % (outs.size() / static_cast<size_t>(uses)), i);
    Tensor g(outs[k].shape(), DType::f64);
    std::copy(w.v.begin(), w.v.end(), g.data<double>());
    dy.push_back(g.to(outs[k].dtype()));
  }
  tape.backward(outs, dy);
  for (size_t i = 0; i < vars.size(); ++i) {
    r.gradients.push_back(c.inputs[i].differentiable ? tape.gradient_of(vars[i]) : Tensor());
  }
  return r;
}

double weighted_loss(const Case& c, const Arrays& in) {
  const Arrays out = c.reference(in);
  double total = 0;
  for (size_t k = 0; k < out.size(); ++k) {
    for (int64_t i = 0; i < out[k].shape.numel(); ++i) total += weight(k, i) * out[k][i];
  }
  return total;
}

// Central differences of the reference at up to 24 evenly spread elements of input k,
// against the tape's gradient there.
std::string check_gradient(const Case& c, Arrays in, size_t k, const Tensor& gradient, DType input_dtype) {
  if (!gradient.defined()) return "no gradient arrived";
  const Array all = to_array(gradient);
  for (int64_t i = 0; i < all.shape.numel(); ++i) {
    if (std::isnan(all[i])) return fmt::format("gradient element {} is NaN (never written?)", i);
  }
  constexpr int64_t kSamples = 24;
  const int64_t n = in[k].shape.numel(), count = std::min(n, kSamples);
  Array got({count}), want({count});
  for (int64_t s = 0; s < count; ++s) {
    const int64_t i = count == 1 ? 0 : s * (n - 1) / (count - 1);
    const double kept = in[k][i], h = c.difference_step * std::max(1.0, std::fabs(kept));
    in[k][i] = kept + h;
    const double up = weighted_loss(c, in);
    in[k][i] = kept - h;
    const double down = weighted_loss(c, in);
    in[k][i] = kept;
    want[s] = (up - down) / (2 * h);
    got[s] = all[i];
  }
  // The finite difference has its own error: cancellation in double, relative to the loss.
  const double noise = std::fabs(weighted_loss(c, in)) * 1e-13 / c.difference_step;
  for (int64_t s = 0; s < count; ++s) {
    if (std::fabs(got[s] - want[s]) <= noise) got[s] = want[s];
  }
  return compare(got, want, gradient_tolerance(input_dtype), c.slack);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  return !a.defined() ||
         (a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
}

bool same_bits(const Run& a, const Run& b) {
  const auto same = [](const Tensor& x, const Tensor& y) { return same_bits(x, y); };
  return std::equal(a.outputs.begin(), a.outputs.end(), b.outputs.begin(), b.outputs.end(), same) &&
         std::equal(a.gradients.begin(), a.gradients.end(), b.gradients.begin(), b.gradients.end(), same);
}

std::vector<Tensor> make_inputs(const Case& c, DType t) {
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) inputs.push_back(make_tensor(c.inputs[i], t, i));
  return inputs;
}

void ask_numbers(const Case& c, DType t, const std::string& who, std::vector<std::string>& complaints) {
  const std::vector<Tensor> inputs = make_inputs(c, t);
  Arrays arrays;
  for (const Tensor& x : inputs) arrays.push_back(to_array(x));  // before the op runs: some ops work in place
  const Run r = run(c, inputs, t);
  const Arrays want = c.reference(arrays);
  if (want.size() != r.outputs.size()) {
    complaints.push_back(
        fmt::format("{}: {} outputs, the reference has {}", who, r.outputs.size(), want.size()));
    return;
  }
  for (size_t k = 0; k < want.size(); ++k) {
    const DType d = r.outputs[k].dtype();
    const std::string bad = compare(to_array(r.outputs[k]), want[k], forward_tolerance(d), c.slack);
    if (!bad.empty()) complaints.push_back(fmt::format("{}: output {}: {}", who, k, bad));
  }
  for (size_t i = 0; i < r.gradients.size(); ++i) {
    if (!c.inputs[i].differentiable) continue;
    // A bf16 run rounds activations on the way, whatever the input's own dtype.
    const std::string bad = check_gradient(c, arrays, i, r.gradients[i], t);
    if (!bad.empty()) complaints.push_back(fmt::format("{}: gradient of input {}: {}", who, i, bad));
  }
}

// An input that is used twice gets twice the gradient: the second backward adds where the first has written.
void ask_twice(const Case& c, const std::string& who, std::vector<std::string>& complaints) {
  const std::vector<Tensor> inputs = make_inputs(c, DType::f32);
  const Run once = run(c, inputs, DType::f32), twice = run(c, inputs, DType::f32, 2);
  for (size_t i = 0; i < once.gradients.size(); ++i) {
    if (!once.gradients[i].defined()) continue;
    Array want = to_array(once.gradients[i]);
    for (double& v : want.v) v *= 2;
    const std::string bad = compare(to_array(twice.gradients[i]), want, gradient_tolerance(DType::f32), 1.0);
    if (!bad.empty())
      complaints.push_back(fmt::format("{}: gradient of input {}, used twice: {}", who, i, bad));
  }
}

void ask_threads(const Case& c, DType t, const std::string& who, std::vector<std::string>& complaints) {
  const int before = threads();
  set_threads(1);
  const Run one = run(c, make_inputs(c, t), t);
  for (int n : {2, 4}) {
    set_threads(n);
    if (!same_bits(one, run(c, make_inputs(c, t), t))) {
      complaints.push_back(fmt::format("{}: {} threads give other bits than 1", who, n));
    }
  }
  set_threads(before);
}

}  // namespace

RegisterOp::RegisterOp(const char* op, void (*describe)(OpCase&)) {
  OpCase table;
  table.op = op;
  describe(table);
  tables().push_back(std::move(table));
}

std::vector<const OpCase*> op_cases() {
  std::vector<const OpCase*> all;
  for (const OpCase& t : tables()) all.push_back(&t);
  std::sort(all.begin(), all.end(), [](const OpCase* a, const OpCase* b) { return a->op < b->op; });
  return all;
}

In activation(Shape shape) { return {shape, DType::f32, true, true, {}}; }
In vector(Shape shape) { return {shape, DType::f32, false, true, {}}; }
In fixed(Shape shape) { return {shape, DType::f32, false, false, {}}; }
In index(Shape shape, std::function<double(int64_t)> value) {
  return {shape, DType::i32, false, false, std::move(value)};
}
In pixels(Shape shape) {
  return {shape, DType::u8, false, false, [](int64_t i) {
            return static_cast<double>(Philox(3, Purpose::test, 0, 0).below(static_cast<uint64_t>(i), 256));
          }};
}

Tensor make_tensor(const In& in, DType t, uint64_t seed) {
  const Tensor wide(in.shape, DType::f64);
  const Philox random(seed, Purpose::test, 0, 0);
  for (int64_t i = 0; i < wide.numel(); ++i) {
    wide.data<double>()[i] = in.value ? in.value(i) : random.normal(static_cast<uint64_t>(i));
  }
  return wide.to(in.follows ? t : in.dtype);
}

Array to_array(const Tensor& t) {
  Array a(t.shape());
  const Tensor wide = t.to(DType::f64);
  std::copy(wide.data<double>(), wide.data<double>() + wide.numel(), a.v.begin());
  return a;
}

std::vector<std::string> ask(const OpCase& op, const Case& c) {
  std::vector<std::string> complaints;
  std::vector<DType> dtypes = {DType::f32};
  if (c.bf16) dtypes.push_back(DType::bf16);
  for (DType t : dtypes) {
    const std::string who = fmt::format("{} \"{}\" {}", op.op, c.name, name(t));
    try {
      const memory::GuardScope guard;
      ask_numbers(c, t, who, complaints);
      for (const std::string& label : guard.violations()) {
        complaints.push_back(fmt::format("{}: wrote outside a buffer of \"{}\"", who, label));
      }
    } catch (const std::exception& e) {
      complaints.push_back(fmt::format("{}: threw {}", who, e.what()));
      continue;
    }
    ask_threads(c, t, who, complaints);
    if (c.gradient && t == DType::f32) ask_twice(c, who, complaints);
  }
  if (c.slack != 1.0 && std::strlen(c.slack_reason) == 0)
    complaints.push_back(op.op + ": slack without a reason");
  return complaints;
}

std::vector<std::string> ask_rejects(const OpCase& op) {
  std::vector<std::string> complaints;
  for (const auto& [what, f] : op.rejects) {
    try {
      f();
      complaints.push_back(fmt::format("{}: accepts {}", op.op, what));
    } catch (const Error& e) {
      if (std::string(e.what()).find(op.op) == std::string::npos) {
        complaints.push_back(
            fmt::format("{}: the error for {} does not name the op: {}", op.op, what, e.what()));
      }
    }
  }
  if (op.rejects.empty()) complaints.push_back(op.op + ": no wrong input is tried");
  return complaints;
}

}  // namespace tessera::test
