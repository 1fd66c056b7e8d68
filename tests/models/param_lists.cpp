// Names, shapes, counts, layer ids and decay of the real-size models, against the official lists.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "models/mae_decoder.h"
#include "models/vit.h"
#include "recipes/mae/mae.h"

namespace tessera {
namespace {

// Parameters are only listed, not laid out: a store that is never frozen takes no memory.
void check_list(const ParamStore& store, const nlohmann::json& model, bool layer_ids) {
  std::map<std::string, const Param*> ours;
  for (const Param& p : store.params()) ours[p.name] = &p;
  int64_t numel = 0, trained = 0;
  const auto& frozen = model["frozen"];
  CHECK(model["total"] == store.numel());
  CHECK(model["trained"] == store.trained_numel());
  for (const auto& [name, entry] : model["params"].items()) {
    CAPTURE(name);
    REQUIRE(ours.count(name) == 1);
    const Param& p = *ours[name];
    Shape shape;
    for (int64_t size : entry[0]) shape.push_back(size);
    CHECK(p.shape == shape);
    const bool is_frozen = std::find(frozen.begin(), frozen.end(), name) != frozen.end();
    CHECK(p.trained == !is_frozen);
    if (!is_frozen) CHECK(p.decay == (entry[3].get<double>() > 0));
    if (layer_ids) CHECK(p.depth == entry[1].get<int>());
    numel += p.shape.numel();
    trained += p.trained ? p.shape.numel() : 0;
  }
  CHECK(ours.size() == model["params"].size());
  CHECK(numel == store.numel());
  CHECK(trained == store.trained_numel());
}

nlohmann::json lists() {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/param_lists.json");
  return nlohmann::json::parse(in);
}

MaeConfig mae_config(VitConfig encoder) {
  MaeConfig c;
  c.encoder = encoder;
  return c;
}

}  // namespace

TEST_CASE("models/vit: ViT-B classifier has the official parameters") {
  ParamStore store;
  const VitClassifier model(Scope(store), vit_base(), 1000, Pool::mean);
  check_list(store, lists()["mae_finetune_vit_base"], true);
}

TEST_CASE("models/mae: MAE ViT-B has the official parameters") {
  ParamStore store;
  const Mae model(Scope(store), mae_config(vit_base()));
  check_list(store, lists()["mae_pretrain_vit_base"], false);
}

// spec mae.md section 1 and 4.1
TEST_CASE("models/mae: counts of Base, Large and Huge") {
  struct Count {
    VitConfig encoder;
    int64_t all, trained;
    size_t tensors;
    int64_t no_decay_tensors, no_decay, decay_tensors, decay;
  };
  const Count counts[] = {
      {vit_base(), 111'907'840, 111'655'680, 254, 167, 177'664, 85, 111'478'016},
      {vit_large(), 329'541'888, 329'239'296, 398, 263, 378'112, 133, 328'861'184},
      {vit_huge(), 657'074'508, 656'613'964, 494, 327, 591'692, 165, 656'022'272},
  };
  for (const Count& want : counts) {
    CAPTURE(want.encoder.dim);
    ParamStore store;
    const Mae model(Scope(store), mae_config(want.encoder));
    CHECK(store.numel() == want.all);
    CHECK(store.trained_numel() == want.trained);
    CHECK(store.params().size() == want.tensors);
    int64_t tensors[2] = {}, elements[2] = {};
    for (const Param& p : store.params()) {
      if (!p.trained) continue;
      ++tensors[p.decay];
      elements[p.decay] += p.shape.numel();
    }
    CHECK(tensors[0] == want.no_decay_tensors);
    CHECK(elements[0] == want.no_decay);
    CHECK(tensors[1] == want.decay_tensors);
    CHECK(elements[1] == want.decay);
  }
}

// spec vit.md section 1
TEST_CASE("models/vit: counts of Small, Base, Large and Huge classifiers, both heads") {
  VitConfig huge448 = vit_huge();
  huge448.image_h = huge448.image_w = 448;
  const std::tuple<VitConfig, int64_t, size_t> counts[] = {{vit_small(), 22'050'664, 152},
                                                           {vit_base(), 86'567'656, 152},
                                                           {vit_large(), 304'326'632, 296},
                                                           {vit_huge(), 632'045'800, 392},
                                                           {huge448, 633'028'840, 392}};
  for (const auto& [config, numel, tensors] : counts) {
    for (Pool pool : {Pool::class_token, Pool::mean}) {
      ParamStore store;
      const VitClassifier model(Scope(store), config, 1000, pool);
      CHECK(store.numel() == numel);
      CHECK(store.params().size() == tensors);
    }
  }
}

// Bounds and deviations of spec mae.md section 3, on a small model whose widths all differ.
TEST_CASE("models/mae: initialisation") {
  VitConfig e = vit_tiny();
  e.image_h = e.image_w = 64;
  e.depth = 2;
  MaeConfig c = mae_config(e);
  c.decoder = {128, 1, 4};
  ParamStore store;
  const Mae model(Scope(store), c);
  store.freeze(5);
  const auto bound = [&](const char* name, double expected) {
    CAPTURE(name);
    const Tensor& t = store.find(name)->master;
    double largest = 0, mean = 0;
    for (int64_t i = 0; i < t.numel(); ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(t.data<float>()[i])));
      mean += static_cast<double>(t.data<float>()[i]) / static_cast<double>(t.numel());
    }
    CHECK(largest <= expected * (1 + 1e-6));
    CHECK(largest > expected * 0.9);
    CHECK(std::fabs(mean) < expected * 0.1 + 3 * expected / std::sqrt(static_cast<double>(t.numel())));
  };
  bound("patch_embed.proj.weight", std::sqrt(6.0 / (768 + 192)));
  bound("patch_embed.proj.bias", 1 / std::sqrt(768.0));
  bound("blocks.1.attn.qkv.weight", std::sqrt(6.0 / (4 * 192)));
  bound("blocks.1.attn.proj.weight", std::sqrt(6.0 / (2 * 192)));
  bound("blocks.0.mlp.fc1.weight", std::sqrt(6.0 / (5 * 192)));
  bound("blocks.0.mlp.fc2.weight", std::sqrt(6.0 / (5 * 192)));
  bound("decoder_embed.weight", std::sqrt(6.0 / (192 + 128)));
  bound("decoder_pred.weight", std::sqrt(6.0 / (128 + 768)));
  for (const Param& p : store.params()) {
    if (p.name.ends_with("norm1.weight")) CHECK(p.master.data<float>()[3] == 1.0f);
    if (p.name.ends_with("fc1.bias")) CHECK(p.master.data<float>()[3] == 0.0f);
  }
  double squares = 0;
  for (const char* name : {"cls_token", "mask_token"}) {
    const Tensor& t = store.find(name)->master;
    for (int64_t i = 0; i < t.numel(); ++i) squares += std::pow(static_cast<double>(t.data<float>()[i]), 2);
  }
  CHECK(std::sqrt(squares / 320) == doctest::Approx(0.02).epsilon(0.15));

  // The same numbers whatever else the model holds: addresses are (seed, name).
  ParamStore other;
  const Vit encoder(Scope(other), e);
  other.freeze(5);
  for (const Param& p : other.params()) {
    const Tensor& mine = store.find(p.name)->master;
    CHECK(std::equal(mine.data<float>(), mine.data<float>() + mine.numel(), p.master.data<float>()));
  }
}

}  // namespace tessera
