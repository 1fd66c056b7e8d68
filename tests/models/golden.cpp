// Golden numbers of spec mae.md section 8 and vit.md section 9 (a tiny model filled by formula), and of
// mae.md section 2.2.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "models/position.h"
#include "models/vit.h"
#include "ops/cross_entropy/cross_entropy.h"
#include "recipes/mae/mae.h"
#include "recipes/trainer/optimizer.h"

namespace tessera {
namespace {

VitConfig tiny() {
  VitConfig c;
  c.image_h = c.image_w = 32;
  c.patch_h = c.patch_w = 8;
  c.dim = 24;
  c.depth = 2;
  c.heads = 3;
  return c;
}

// 0.3 sin(0.39 i + H), H = sum of the name's bytes mod 97; one more where a norm's weight.
void fill_by_formula(ParamStore& store) {
  for (const Param& p : store.params()) {
    if (!p.trained) continue;
    int h = 0;
    for (char ch : p.name) h += static_cast<unsigned char>(ch);
    h %= 97;
    const bool norm_weight = p.name.find("norm") != std::string::npos && p.name.ends_with("weight");
    for (int64_t i = 0; i < p.master.numel(); ++i) {
      const double v = 0.3 * std::sin(0.39 * static_cast<double>(i) + h) + (norm_weight ? 1 : 0);
      p.master.data<float>()[i] = static_cast<float>(v);
    }
  }
  store.changed();
}

Tensor images() {
  const Tensor x({2, 3, 32, 32}, DType::f32);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.data<float>()[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i)));
  return x;
}

Tensor noise() {
  const Tensor n({2, 16}, DType::f32);
  for (uint64_t b = 0; b < 2; ++b) {
    for (uint64_t i = 0; i < 16; ++i) {
      const uint64_t word = ((16 * b + i + 1) * 2654435761ull) & 0xffffffffull;
      n.data<float>()[16 * b + i] = static_cast<float>(static_cast<double>(word) / 4294967296.0);
    }
  }
  return n;
}

MaeConfig tiny_mae(bool normalize) {
  MaeConfig c;
  c.encoder = tiny();
  c.decoder = {16, 2, 4};
  c.normalize_target = normalize;
  return c;
}

double norm(const Tensor& t) {
  double s = 0;
  for (int64_t i = 0; i < t.numel(); ++i) s += std::pow(static_cast<double>(t.data<float>()[i]), 2);
  return std::sqrt(s);
}

double train_loss(const Mae& mae, ParamStore& store) {
  store.begin_gradients();
  Tape tape;
  const Var loss = mae.loss(images(), noise(), {});
  tape.backward(loss);
  store.finish_gradients();
  return loss.value().item();
}

}  // namespace

TEST_CASE("models/mae: golden masks, targets and predictions") {
  ParamStore store;
  const Mae mae(Scope(store), tiny_mae(false));
  store.freeze(0);
  fill_by_formula(store);
  const Masking m = mask_by_noise(noise(), mae.kept());
  const int32_t keep[2][4] = {{12, 4, 9, 1}, {9, 1, 14, 6}};
  CHECK(std::memcmp(m.keep.raw(), keep, sizeof keep) == 0);
  const int32_t restore[16] = {9, 3, 13, 7, 1, 11, 5, 15, 8, 2, 12, 6, 0, 10, 4, 14};
  CHECK(std::memcmp(m.restore.raw(), restore, sizeof restore) == 0);

  const float* t = mae.target(images(), {}).data<float>() + 5 * 192;
  for (auto [got, want] : {std::pair{t[0], 0.954285094492698},
                           {t[1], 0.005298772385603},
                           {t[2], -0.957399047065185},
                           {t[3], 0.979357643103917}}) {
    CHECK(static_cast<double>(got) == doctest::Approx(want).epsilon(1e-5));
  }
  const NoGrad nothing_records;
  const Tensor pred = mae.predict(images(), m, {}).value();
  const float* p = pred.data<float>();
  const std::pair<int64_t, double> wanted[] = {{0, 1.163342109165976},
                                               {1, 1.042284935329952},
                                               {2, 0.947939938128006},
                                               {(16 + 15) * 192 + 189, -0.415549316572297},
                                               {(16 + 15) * 192 + 190, -0.504776705457001},
                                               {(16 + 15) * 192 + 191, -0.630224904496729}};
  for (const auto& [at, want] : wanted)
    CHECK(static_cast<double>(p[at]) == doctest::Approx(want).epsilon(1e-5));
  double total = 0;
  for (int64_t i = 0; i < pred.numel(); ++i) total += static_cast<double>(p[i]);
  CHECK(total == doctest::Approx(949.287795445264).epsilon(1e-5));
}

TEST_CASE("models/mae: golden losses and gradients, raw and normalised pixels") {
  struct Want {
    bool normalize;
    double loss, cls_norm, cls_first, mask_norm, mask_first, patch_norm, patch_first, qkv_norm, qkv_first,
        bias_norm, bias_first;
  };
  const Want wants[] = {
      {false, 2.595008854442, 0.002692829111, 0.000277649212, 1.391693898, 0.2150198249, 0.04675616462,
       0.0003843540129, 0.01550929165, -2.432683293e-5, 0.1286550459, 0.006274220665},
      {true, 3.104127397996, 0.002701711389, 0.000280538781, 1.397452224, 0.2166381348, 0.04694469894,
       0.0003871709784, 0.01558709034, -2.435289934e-5, 0.137404678, 0.004157282367}};
  for (const Want& want : wants) {
    CAPTURE(want.normalize);
    ParamStore store;
    const Mae mae(Scope(store), tiny_mae(want.normalize));
    store.freeze(0);
    fill_by_formula(store);
    CHECK(train_loss(mae, store) == doctest::Approx(want.loss).epsilon(1e-6));
    const auto check = [&](const char* name, double expected_norm, double first) {
      CAPTURE(name);
      const Tensor& g = store.find(name)->grad;
      CHECK(norm(g) == doctest::Approx(expected_norm).epsilon(1e-5));
      CHECK(std::fabs(static_cast<double>(g.data<float>()[0]) - first) < 1e-5 * expected_norm);
    };
    check("cls_token", want.cls_norm, want.cls_first);
    check("mask_token", want.mask_norm, want.mask_first);
    check("patch_embed.proj.weight", want.patch_norm, want.patch_first);
    check("blocks.0.attn.qkv.weight", want.qkv_norm, want.qkv_first);
    check("decoder_pred.bias", want.bias_norm, want.bias_first);
  }
}

TEST_CASE("models/mae: golden losses of six AdamW steps") {
  ParamStore store;
  const Mae mae(Scope(store), tiny_mae(true));
  store.freeze(0);
  fill_by_formula(store);
  Optimizer adamw(store, {0.9, 0.95, 1e-8, 0.05});
  for (double want : {3.104127398, 3.170073331, 2.967631146, 2.257903505, 1.636721093, 1.405440405}) {
    CHECK(train_loss(mae, store) == doctest::Approx(want).epsilon(1e-4));
    adamw.step(1e-2);
  }
}

TEST_CASE("models/vit: golden logits, losses and six fine-tuning steps") {
  struct Want {
    Pool pool;
    double logits[5], loss;
  };
  const Want wants[] = {{Pool::mean,
                         {3.157310898758, -3.442446491883, 3.086119692232, -2.928604140866, 2.994114944322},
                         6.878803457919},
                        {Pool::class_token,
                         {1.688130663536, -2.141516816517, 1.958897608646, -1.979818026784, 2.227744689058},
                         5.051663534045}};
  const Tensor labels({2}, DType::i32);
  labels.data<int32_t>()[0] = 1;
  labels.data<int32_t>()[1] = 3;
  for (const Want& want : wants) {
    ParamStore store;
    const VitClassifier model(Scope(store), tiny(), 5, want.pool);
    store.freeze(0);
    fill_by_formula(store);
    const auto loss = [&] {
      store.begin_gradients();
      Tape tape;
      const Var l = cross_entropy(model(images(), {}), labels);
      tape.backward(l);
      store.finish_gradients();
      return l.value().item();
    };
    {
      const NoGrad nothing_records;
      const Tensor logits = model(images(), {}).value();
      for (int64_t k = 0; k < 5; ++k) {
        CHECK(static_cast<double>(logits.data<float>()[k]) == doctest::Approx(want.logits[k]).epsilon(1e-5));
      }
    }
    CHECK(loss() == doctest::Approx(want.loss).epsilon(1e-6));
    if (want.pool != Pool::mean) continue;
    Optimizer adamw(store, {0.9, 0.999, 1e-8, 0.05}, 0.65);
    for (double step : {6.878803458, 2.610070296, 0.911667436, 0.748228120, 0.716624755, 0.696599487}) {
      CHECK(loss() == doctest::Approx(step).epsilon(1e-4));
      adamw.step(1e-2);
    }
  }
}

TEST_CASE("models/position: check values and sums of the sine-cosine tables") {
  struct Want {
    int64_t dim, grid;
    double sum;
  };
  for (const Want& w : {Want{384, 14, 34713.823700},
                        {512, 14, 46340.333120},
                        {768, 14, 69594.493847},
                        {1024, 14, 92849.197928},
                        {1280, 16, 149578.405773},
                        {512, 16, 59700.678504}}) {
    std::vector<float> table(static_cast<size_t>((w.grid * w.grid + 1) * w.dim));
    sincos_2d(table.data(), w.dim, w.grid, w.grid, 1);
    double sum = 0, squares = 0;
    for (float v : table) {
      sum += static_cast<double>(v);
      squares += static_cast<double>(v) * static_cast<double>(v);
    }
    CHECK(sum == doctest::Approx(w.sum).epsilon(1e-9));
    CHECK(squares == doctest::Approx(static_cast<double>(w.grid * w.grid * w.dim) / 2).epsilon(1e-6));
    if (w.dim != 768) continue;
    const auto at = [&](int64_t slot, int64_t i) { return table[static_cast<size_t>(slot * 768 + i)]; };
    CHECK(at(2, 0) == 0.841470957f);
    CHECK(at(2, 1) == 0.815250635f);
    CHECK(at(2, 191) == 0.000104913976f);
    CHECK(at(2, 192) == 0.540302277f);
    CHECK(at(15, 384) == 0.841470957f);
    CHECK(at(15, 576) == 0.540302277f);
    CHECK(at(196, 100) == 0.107096754f);
    CHECK(at(196, 500) == 0.0497848392f);
    CHECK(at(196, 767) == 0.999999046f);
  }
  std::vector<float> odd(1000);
  CHECK_THROWS_AS(sincos_2d(odd.data(), 10, 2, 2, 1), Error);
}

TEST_CASE("models/position: tables that do not fit are refused") {
  const Tensor table({1, 13, 4}, DType::f32);
  CHECK_THROWS_AS(resize_positions(table, 0, 3, 4, 6, 8), Error);
  CHECK_THROWS_AS(resize_positions_linear(table, 1, {1, 4, 4}, {1, 8, 8}), Error);
  CHECK_THROWS_AS(resize_relative_table(Tensor({9, 2}, DType::f32), 7), Error);
  CHECK_THROWS_AS(resize_relative_table(Tensor({26, 2}, DType::f32), 7), Error);
  CHECK_THROWS_AS(resize_relative_table(Tensor({25, 2}, DType::f32), 6), Error);
  std::vector<float> odd(1000);
  CHECK_THROWS_AS(sincos_3d(odd.data(), 24, 1, 2, 2, 0), Error);
}

}  // namespace tessera
