// Spoils values where a fault asks for it, and keeps the first one that is not finite.
#include "autograd/audit.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <set>

#include "autograd/param.h"
#include "engine/check.h"

namespace tessera::audit {

struct Access {
  static std::optional<Finding>& first(Watch& w) { return w.first_; }
  static const Param*& layer(Watch& w) { return w.layer_; }
};

namespace {

thread_local int64_t step = 0;                          // from 1; 0: none, no address fits
thread_local std::set<std::string, std::less<>> spent;  // points whose fault of this step has come

// "blocks.0.attn.qkv" of "blocks.0.attn.qkv.weight"
std::string layer_of(const Param* p) {
  if (p == nullptr) return "";
  const size_t dot = p->name.rfind('.');
  return dot == std::string::npos ? p->name : p->name.substr(0, dot);
}

template <class F> void for_elements(const Tensor& t, F&& f) {
  with_float_type(t.dtype(), "audit", [&](auto type) {
    const auto* p = t.data<decltype(type)>();
    for (int64_t i = 0; i < t.numel(); ++i) {
      if (!f(i, static_cast<float>(p[i]))) return;
    }
  });
}

// Puts NaN or infinity into the middle element of `t` if a fault is due at `point` in this step.
void spoil(const std::string& point, const Tensor& t) {
  if (step == 0 || !t.defined() || !is_float(t.dtype()) || t.numel() == 0 || spent.contains(point)) return;
  const fault::Action action = fault::at(point, step);
  if (action != fault::Action::nan && action != fault::Action::inf) return;
  spent.insert(point);
  const float bad = action == fault::Action::nan ? std::numeric_limits<float>::quiet_NaN()
                                                 : std::numeric_limits<float>::infinity();
  with_float_type(t.dtype(), "audit", [&](auto type) {
    using T = decltype(type);
    t.data<T>()[t.numel() / 2] = T(bad);
  });
}

bool armed() { return fault::detail::armed.load(std::memory_order_relaxed); }

void look(Finding finding, const Tensor& value, bool rows) {
  const int64_t first = first_non_finite(value);
  if (first < 0) return;
  finding.shape = value.shape();
  const int64_t per_row = value.rank() > 0 ? value.numel() / value.dim(0) : value.numel();
  for_elements(value, [&](int64_t i, float x) {
    if (i == first) finding.number = static_cast<double>(x);
    if (rows && !std::isfinite(x) && (finding.rows.empty() || finding.rows.back() != i / per_row))
      finding.rows.push_back(i / per_row);
    return true;
  });
  Access::first(*detail::watch) = std::move(finding);
}

bool looking() { return detail::watch != nullptr && !detail::watch->first(); }

}  // namespace

Watch::Watch() {
  TS_CHECK(detail::watch == nullptr, "audit: Watch does not nest");
  detail::watch = this;
}
Watch::~Watch() { detail::watch = nullptr; }

int64_t first_non_finite(const Tensor& t) {
  int64_t at = -1;
  if (!t.defined() || !is_float(t.dtype())) return at;
  for_elements(t, [&](int64_t i, float x) {
    if (!std::isfinite(x)) at = i;
    return at < 0;
  });
  return at;
}

void begin_step(int64_t number) {
  step = number;
  spent.clear();
}

void detail::output(const char* op, const char* point, const Tensor& value, int index) {
  if (armed() && index == 0) spoil(point != nullptr ? point : std::string("op.") + op, value);
  if (!looking()) return;
  look({op, false, fmt::format("output {}", index), layer_of(Access::layer(*watch)), {}, 0, {}}, value, true);
}

void reads(const Param& param) {
  if (detail::watch != nullptr) Access::layer(*detail::watch) = &param;
}

const Param* last_read() { return detail::watch != nullptr ? Access::layer(*detail::watch) : nullptr; }

void gradient(const char* op, const Param* layer, int index, const Param* param, const Tensor& gradient,
              bool spoil_it) {
  if (spoil_it && armed()) spoil(std::string("gradient.") + op, gradient);
  if (!looking()) return;
  const std::string what = param != nullptr ? param->name : fmt::format("input {}", index);
  look({op, true, "gradient of " + what, layer_of(param != nullptr ? param : layer), {}, 0, {}}, gradient,
       param == nullptr);
}

}  // namespace tessera::audit
