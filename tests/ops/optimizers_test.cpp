// The optimiser ops against ten steps of PyTorch and of MAE's LARS on given gradients (fixtures opt_*), and
// clipping.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/copy.h"
#include "engine/safetensors.h"
#include "ops/adamw/adamw.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/lars/lars.h"
#include "ops/sgd/sgd.h"

namespace tessera::test {
namespace {

SafeTensors golden(const std::string& name) {
  return load_safetensors(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors");
}

// The parameters of a fixture as flat slabs with padded segments.
struct Slabs {
  Tensor master, grad, first, second, state = make_update_state();
  std::vector<Segment> segments;
  std::vector<std::string> names;
};

constexpr std::string_view kParam = "param.";

Slabs make_slabs(const SafeTensors& file, double lr, bool decay_all) {
  Slabs s;
  int64_t at = 0;
  for (const auto& [name, value] : file.tensors) {
    if (!name.starts_with(kParam)) continue;
    s.names.push_back(name.substr(kParam.size()));
    s.segments.push_back({at, value.numel(), decay_all || value.rank() > 1, 1.0f});
    at += (value.numel() + 15) / 16 * 16;
  }
  for (Tensor* slab : {&s.master, &s.grad, &s.first, &s.second}) {
    *slab = Tensor({at}, DType::f32);
    fill(*slab, 0);
  }
  for (size_t i = 0; i < s.names.size(); ++i) {
    const Tensor& value = file.at("param." + s.names[i]);
    copy(s.master.slice(s.segments[i].begin, s.segments[i].begin + value.numel()),
         value.reshape({value.numel()}));
  }
  s.state.data<float>()[kLr] = static_cast<float>(lr);
  return s;
}

// Row `step` of a [10, ...] tensor, flat.
Tensor row(const Tensor& t, int64_t step) {
  const Tensor r = t.slice(step, step + 1);
  return r.reshape({r.numel()});
}

double largest(const Tensor& t) {
  double m = 0;
  for (int64_t i = 0; i < t.numel(); ++i) m = std::max(m, std::fabs(static_cast<double>(t.data<float>()[i])));
  return m;
}

// Runs `update` ten times and compares every parameter after each step, at the limit of the fixtures' README
// for tensors.
void follow(const std::string& fixture, double lr, bool decay_all,
            const std::function<void(const Slabs&)>& update) {
  const SafeTensors file = golden(fixture);
  const Slabs s = make_slabs(file, lr, decay_all);
  REQUIRE(s.names.size() == 8);
  for (int64_t step = 0; step < 10; ++step) {
    for (size_t i = 0; i < s.names.size(); ++i) {
      const Segment& at = s.segments[i];
      copy(s.grad.slice(at.begin, at.begin + at.count), row(file.at("input.grad." + s.names[i]), step));
    }
    update(s);
    for (size_t i = 0; i < s.names.size(); ++i) {
      const Tensor& trajectory = file.at("out.trajectory." + s.names[i]);
      const Tensor want = row(trajectory, step);
      const double limit = 10 * file.at("tol.trajectory." + s.names[i]).item() + 1e-6 * largest(trajectory);
      double worst = 0;
      for (int64_t e = 0; e < s.segments[i].count; ++e) {
        const double got = static_cast<double>(s.master.data<float>()[s.segments[i].begin + e]);
        worst = std::max(worst, std::fabs(got - static_cast<double>(want.data<float>()[e])));
      }
      INFO(fixture, " ", s.names[i], " after step ", step + 1);
      CHECK(worst <= limit);
    }
  }
  CHECK(s.state.data<float>()[kStep] == 10.0f);
  int64_t at = 0;  // padding is still zero
  for (const Segment& segment : s.segments) {
    for (; at < segment.begin; ++at) CHECK(s.master.data<float>()[at] == 0.0f);
    at = segment.begin + segment.count;
  }
}

}  // namespace

TEST_CASE("ops/adamw: ten steps of PyTorch's AdamW") {
  follow("opt_adamw_a", 0.01, false, [](const Slabs& s) {
    adamw(s.master, s.grad, s.first, s.second, {}, s.segments, s.state, {0.9, 0.95, 1e-8, 0.05});
  });
  follow("opt_adamw_b", 0.003, false, [](const Slabs& s) {
    adamw(s.master, s.grad, s.first, s.second, {}, s.segments, s.state, {0.9, 0.999, 1e-8, 0.1});
  });
}

TEST_CASE("ops/lars: ten steps of MAE's LARS") {
  follow("opt_lars", 3.2, false, [](const Slabs& s) {
    lars(s.master, s.grad, s.first, {}, s.segments, s.state, {0.9, 0.0, 0.001});
  });
  follow("opt_lars_wd", 0.5, false, [](const Slabs& s) {
    lars(s.master, s.grad, s.first, {}, s.segments, s.state, {0.9, 0.01, 0.02});
  });
}

TEST_CASE("ops/sgd: ten steps of PyTorch's SGD") {
  follow("opt_sgd", 0.1, true, [](const Slabs& s) {
    sgd(s.master, s.grad, s.first, {}, s.segments, s.state, {0.9, 1e-4, true});
  });
}

TEST_CASE("ops/grad_norm: clip_grad_norm_ of PyTorch") {
  const SafeTensors file = golden("opt_clip_norm");
  const Tensor grad({80}, DType::f32), norm({1}, DType::f32), state = make_update_state();
  fill(grad, 0);
  std::vector<int64_t> begin;
  int64_t at = 0;
  for (const char* name : {"0", "1", "2"}) {
    const Tensor& value = file.at(std::string("input.grad.") + name);
    copy(grad.slice(at, at + value.numel()), value.reshape({value.numel()}));
    begin.push_back(at);
    at += (value.numel() + 15) / 16 * 16;
  }
  for (const auto& [max_norm, tag] : std::vector<std::pair<double, std::string>>{
           {0.02, "max0.02"}, {1.0, "max1"}, {5.0, "max5"}, {1e6, "max1e+06"}}) {
    grad_norm(norm, grad, max_norm, state);
    const double want = file.at("out.norm." + tag).item();
    CHECK(std::fabs(norm.item() - want) <= 1e-6 * want);
    CHECK(state.data<float>()[kSkip] == 0.0f);
    for (size_t i = 0; i < begin.size(); ++i) {
      const Tensor& clipped = file.at("out.grad." + std::to_string(i) + "." + tag);
      for (int64_t e = 0; e < clipped.numel(); ++e) {
        const double got = static_cast<double>(grad.data<float>()[begin[i] + e] * state.data<float>()[kClip]);
        const double reference = static_cast<double>(clipped.data<float>()[e]);
        CHECK(std::fabs(got - reference) <= 1e-6 * std::fabs(reference));
      }
    }
  }
}

}  // namespace tessera::test
