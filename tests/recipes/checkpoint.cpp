// Checkpoints: round trip, damage of every kind, kills and full disks at every call, generations, non-finite
// states.
#include "recipes/trainer/checkpoint.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/log.h"
#include "tests/recipes/checkpoint_example.h"
#include "tests/recipes/scratch.h"

namespace tessera {

using namespace test::checkpoints;
using test::FaultyDisk;
using test::Scratch;
using test::slurp;
using test::spill;
namespace fs = std::filesystem;

TEST_CASE("recipes/checkpoint: a round trip keeps everything") {
  const Scratch run;
  const Checkpoint c = example(7);
  CHECK(save_checkpoint(run.path(), c, 2) == run / "checkpoints/step-7");
  check_same(load_checkpoint(run / "checkpoints/step-7"), c);
  CHECK(read_checkpoint_info(run / "checkpoints/step-7").target == "normalised pixels");
  CHECK(load_latest(run.path()).folder == run / "checkpoints/step-7");
  CHECK(load_latest(run / "absent").folder == "");
  // The model file says by itself what it is.
  CHECK(load_safetensors(run / "checkpoints/step-7/model.safetensors").metadata.at("recipe") == "mae");
}

TEST_CASE("recipes/checkpoint: weights from a run, a step or a bare file") {
  const Scratch run;
  save_checkpoint(run.path(), example(1), 2);
  save_checkpoint(run.path(), example(2), 2);
  for (const std::string& path :
       {run.path(), run / "checkpoints/step-2", run / "checkpoints/step-2/model.safetensors"}) {
    const Weights w = load_weights(path);
    check_tensors(w.model, example(2).model);
    CHECK(w.info.step == 2);
    CHECK(w.info.epoch == 2.0 / 3);
    CHECK(w.info.seed == 18446744073709551615u);
    CHECK(w.info.mean == std::vector<double>{0.485, 0.456, 0.406});
    CHECK(w.info.config == example(2).info.config);
    CHECK(w.info.extra.at("note") == "a \"quoted\" one");
  }
  save_safetensors(run / "foreign.safetensors", {{{"format", "pt"}}, {{"w", filled({2}, 1)}}});
  CHECK(load_weights(run / "foreign.safetensors").info.recipe == "");
  CHECK(contains(complaint(ErrorKind::checkpoint, [&] { load_weights(run / "absent"); }), "does not exist"));
  fs::create_directories(run / "empty");
  CHECK(contains(complaint(ErrorKind::checkpoint, [&] { load_weights(run / "empty"); }),
                 "holds no checkpoint"));
}

TEST_CASE("recipes/checkpoint: a flipped bit anywhere is found, and its tensor named") {
  const Scratch run;
  const std::string folder = save_checkpoint(run.path(), example(3), 2);
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string path = folder + "/" + name, good = slurp(path);
    const auto spans = spans_of(good);
    for (size_t i = 0; i < good.size(); i += 1 + i % 5) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
      spill(path, bad);
      const std::string text = complaint(ErrorKind::checkpoint, [&] { load_checkpoint(folder); });
      CHECK_MESSAGE(contains(text, name), text);
      CHECK_MESSAGE(contains(text, place_of(spans, i) + " does not match its checksum"), text);
    }
    spill(path, good);
  }
  const std::string path = folder + "/manifest.json", good = slurp(path);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
    spill(path, bad);
    CHECK(contains(complaint(ErrorKind::checkpoint, [&] { load_checkpoint(folder); }),
                   "manifest.json: does not match"));
  }
  spill(path, good);
  check_same(load_checkpoint(folder), example(3));
}

TEST_CASE("recipes/checkpoint: a shortened, lengthened, zeroed or missing file is found") {
  const Scratch run;
  const std::string folder = save_checkpoint(run.path(), example(3), 2);
  const auto refused = [&] { return complaint(ErrorKind::checkpoint, [&] { load_checkpoint(folder); }); };
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "manifest.json"}) {
    const std::string path = folder + "/" + name, good = slurp(path);
    const bool tensors = std::string(name) != "manifest.json";
    const auto spans = tensors ? spans_of(good) : std::vector<Span>{};
    for (size_t n = 0; n < good.size(); n += 1 + n % 7) {
      spill(path, good.substr(0, n));
      const std::string text = refused();
      CHECK_MESSAGE(contains(text, name), text);
      if (tensors) CHECK_MESSAGE(contains(text, place_of(spans, n)), text);
    }
    spill(path, good + "x");
    CHECK(contains(refused(), name));
    spill(path, std::string(good.size(), '\0'));
    CHECK(contains(refused(), name));
    fs::remove(path);
    CHECK(contains(refused(), name));
    spill(path, good);
  }
  check_same(load_checkpoint(folder), example(3));
}

TEST_CASE("recipes/checkpoint: a format of the future is named as such") {
  const Scratch run;
  const std::string folder = save_checkpoint(run.path(), example(3), 2);
  SafeTensors model = load_safetensors(folder + "/model.safetensors");
  model.metadata["tessera_format"] = "2";
  save_safetensors(run / "new.safetensors", model);
  CHECK(
      contains(complaint(ErrorKind::checkpoint, [&] { load_weights(run / "new.safetensors"); }), "format 2"));
}

TEST_CASE("recipes/checkpoint: generations: the oldest go, a damaged newest falls back") {
  const Quiet quiet;
  const Scratch run;
  CHECK(contains(complaint(ErrorKind::config, [&] { save_checkpoint(run.path(), example(1), 1); }),
                 "keep is 1"));
  for (int64_t step : {5, 100, 20, 30}) save_checkpoint(run.path(), example(step), 2);
  // 100 is from before the run went back to 20; it is newer by number, and left alone.
  CHECK_FALSE(fs::exists(run / "checkpoints/step-5"));
  CHECK(fs::exists(run / "checkpoints/step-20"));
  CHECK(fs::exists(run / "checkpoints/step-30"));
  CHECK(load_latest(run.path()).folder == run / "checkpoints/step-100");
  spill(run / "checkpoints/step-100/model.safetensors", "damaged");
  CHECK(load_latest(run.path()).folder == run / "checkpoints/step-30");
  fs::remove(run / "checkpoints/step-30/manifest.json");
  CHECK(load_latest(run.path()).folder == run / "checkpoints/step-20");
  // Reaching a damaged step again replaces it.
  save_checkpoint(run.path(), example(100), 2);
  CHECK(load_latest(run.path()).folder == run / "checkpoints/step-100");
  check_same(load_checkpoint(run / "checkpoints/step-100"), example(100));
  for (const auto& e : fs::directory_iterator(run / "checkpoints")) fs::remove(e.path() / "manifest.json");
  CHECK(contains(complaint(ErrorKind::checkpoint, [&] { load_latest(run.path()).folder; }),
                 "none of its 2 checkpoints verifies"));
}

TEST_CASE("recipes/checkpoint: what a killed save left is cleared without another save") {
  const Scratch run;
  for (int64_t step : {1, 2}) save_checkpoint(run.path(), example(step), 2);
  for (const char* name : {"step-0", "step-9", ".tmp-3-a-b", ".old-1-a-b", "crash-1"})
    fs::create_directories(run / (std::string("checkpoints/") + name + "/within"));
  clear_leftovers(run.path(), 2, 2);
  std::string left;
  for (const Disk::Entry& e : real_disk().list(run / "checkpoints")) left += e.name + " ";
  CHECK(left == "crash-1 step-1 step-2 step-9 ");
}

TEST_CASE("recipes/checkpoint: a kill at any call of a save leaves the old or the new, whole") {
  const Quiet quiet;
  int calls = 0;
  for (int fault = 0; fault <= calls; ++fault) {
    const Scratch run;
    for (int64_t step : {1, 2, 3}) save_checkpoint(run.path(), example(step), 2);
    // A replaced folder of the same step and a deleted oldest are part of this save.
    fs::create_directories(run / "checkpoints/step-4");
    FaultyDisk disk(FaultyDisk::kill, fault == 0 ? 1 << 30 : fault - 1);
    bool killed = false;
    try {
      save_checkpoint(run.path(), example(4), 2, disk);
    } catch (const test::Killed&) {
      killed = true;
    }
    if (fault == 0) calls = disk.calls();
    CHECK(killed == (fault > 0));
    const Checkpoint c = load_latest(run.path()).content;
    REQUIRE((c.info.step == 3 || c.info.step == 4));
    check_same(c, example(c.info.step));
    if (!killed) CHECK(c.info.step == 4);
    // The next save works, and clears what the kill left.
    save_checkpoint(run.path(), example(5), 2);
    CHECK(load_latest(run.path()).folder == run / "checkpoints/step-5");
    for (const auto& e : fs::directory_iterator(run / "checkpoints"))
      CHECK(e.path().filename().string()[0] != '.');
  }
  CHECK(calls > 20);
}

TEST_CASE("recipes/checkpoint: a state with NaN or infinity is never a checkpoint") {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (float value : bad) {
    const Scratch run;
    save_checkpoint(run.path(), example(1), 2);
    Checkpoint c = example(2);
    c.model.at("blocks.0.attn.qkv.weight").data<float>()[107] = value;
    std::string text = complaint(ErrorKind::non_finite, [&] { save_checkpoint(run.path(), c, 2); });
    CHECK_MESSAGE(contains(text, "value of tensor \"blocks.0.attn.qkv.weight\""), text);
    CHECK_MESSAGE(contains(text, "at element 107"), text);
    CHECK(load_latest(run.path()).folder == run / "checkpoints/step-1");
    CHECK(std::memcmp(load_checkpoint(run / "checkpoints/crash-2").model.at("blocks.0.attn.qkv.weight").raw(),
                      c.model.at("blocks.0.attn.qkv.weight").raw(), 18 * 6 * 4) == 0);
    c = example(2);
    c.optimizer.at("exp_avg_sq.norm.bias").data<float>()[0] = value;
    text = complaint(ErrorKind::non_finite, [&] { save_checkpoint(run.path(), c, 2); });
    CHECK_MESSAGE(contains(text, "moment of tensor \"exp_avg_sq.norm.bias\""), text);
  }
  // The largest finite numbers are sound.
  const Scratch run;
  Checkpoint c = example(1);
  c.model.at("norm.bias").data<float>()[0] = std::numeric_limits<float>::max();
  c.model.at("norm.bias").data<float>()[1] = std::numeric_limits<float>::denorm_min();
  save_checkpoint(run.path(), c, 2);
}

TEST_CASE("recipes/checkpoint: an unwritable place is an I/O error that names it") {
  const std::string text = complaint(ErrorKind::io, [] { save_checkpoint("/proc/nowhere", example(1), 2); });
  CHECK_MESSAGE(contains(text, "/proc/nowhere/checkpoints"), text);
}

}  // namespace tessera
