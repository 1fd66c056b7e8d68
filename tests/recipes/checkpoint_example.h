// What the tests of checkpoints share: an example, comparisons, where tensors lie in a file.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/log.h"
#include "recipes/trainer/checkpoint.h"
#include "tests/recipes/scratch.h"

namespace tessera::test::checkpoints {

inline Tensor filled(Shape shape, float first) {
  Tensor t(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = first + static_cast<float>(i) / 7;
  return t;
}

inline Checkpoint example(int64_t step) {
  Checkpoint c;
  c.info.step = step;
  c.info.epoch = static_cast<double>(step) / 3;
  c.info.seed = 18446744073709551615u;
  c.info.recipe = "mae";
  c.info.model = "vit_tiny";
  c.info.parts = "encoder+decoder";
  c.info.target = "normalised pixels";
  c.info.mean = {0.485, 0.456, 0.406};
  c.info.std = {0.229, 0.224, 0.225};
  c.info.image_size = {32, 48};
  c.info.config = "model: vit_tiny\noptim:\n  blr: 0.00015\n";
  c.info.code = "0123abc";
  c.info.extra = {{"note", "a \"quoted\" one"}};
  const float s = static_cast<float>(step);
  const std::pair<const char*, Shape> params[] = {
      {"cls_token", {1, 1, 6}}, {"blocks.0.attn.qkv.weight", {18, 6}}, {"norm.bias", {6}}};
  for (const auto& [name, shape] : params) {
    c.model.tensors.emplace_back(name, filled(shape, s));
    c.optimizer.tensors.emplace_back(std::string("exp_avg.") + name, filled(shape, s + 100));
    c.optimizer.tensors.emplace_back(std::string("exp_avg_sq.") + name, filled(shape, s + 200));
  }
  return c;
}

inline void check_tensors(const SafeTensors& a, const SafeTensors& b) {
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    const auto& [name, t] = a.tensors[i];
    CHECK(name == b.tensors[i].first);
    const Tensor& u = b.tensors[i].second;
    CHECK(t.shape() == u.shape());
    CHECK(std::memcmp(t.raw(), u.raw(), static_cast<size_t>(t.bytes())) == 0);
  }
}

inline void check_same(const Checkpoint& a, const Checkpoint& b) {
  CHECK(a.info.step == b.info.step);
  CHECK(a.info.epoch == b.info.epoch);
  CHECK(a.info.seed == b.info.seed);
  CHECK(a.info.recipe == b.info.recipe);
  CHECK(a.info.model == b.info.model);
  CHECK(a.info.parts == b.info.parts);
  CHECK(a.info.target == b.info.target);
  CHECK(a.info.mean == b.info.mean);
  CHECK(a.info.std == b.info.std);
  CHECK(a.info.image_size == b.info.image_size);
  CHECK(a.info.config == b.info.config);
  CHECK(a.info.code == b.info.code);
  CHECK(a.info.extra == b.info.extra);
  check_tensors(a.model, b.model);
  check_tensors(a.optimizer, b.optimizer);
}

// Text and kind of the Error that f must throw.
template <class F> std::string complaint(ErrorKind kind, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  return "accepted";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Where each tensor's bytes lie in a safetensors file, and its header: read by the format's definition, with
// nlohmann.
struct Span {
  std::string name;
  size_t begin, end;
};
inline std::vector<Span> spans_of(const std::string& bytes) {
  uint64_t n = 0;
  std::memcpy(&n, bytes.data(), 8);
  std::vector<Span> spans{{"the header", 0, 8 + n}};
  const auto header = nlohmann::json::parse(bytes.substr(8, n));
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    spans.push_back({"\"" + name + "\"", 8 + n + entry["data_offsets"][0].get<size_t>(),
                     8 + n + entry["data_offsets"][1].get<size_t>()});
  }
  return spans;
}
inline std::string place_of(const std::vector<Span>& spans, size_t position) {
  for (const Span& s : spans) {
    if (position >= s.begin && position < s.end) return s.name;
  }
  return "?";
}

// load_latest warns of damaged generations, which these tests make on purpose.
struct Quiet {
  Quiet() { log::set_level(log::Level::error); }
  ~Quiet() { log::set_level(log::Level::info); }
};

}  // namespace tessera::test::checkpoints
