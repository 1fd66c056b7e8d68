// Damaged and foreign checkpoints: thousands of random mutations, and files that do not belong together.
#include <doctest/doctest.h>

#include <functional>

#include "engine/check.h"
#include "engine/random.h"
#include "recipes/trainer/checkpoint.h"
#include "recipes/trainer/manifest.h"
#include "tests/recipes/checkpoint_example.h"

namespace tessera {

using namespace test::checkpoints;
using test::Scratch;
using test::slurp;
using test::spill;
namespace fs = std::filesystem;

namespace {

constexpr const char* kFiles[] = {"model.safetensors", "optimizer.safetensors", "manifest.json"};

// An example of several pages, so that a zeroed page is not the whole file.
Checkpoint large(int64_t step) {
  Checkpoint c = example(step);
  c.model.tensors.emplace_back("blocks.0.mlp.fc1.weight", filled({64, 90}, 7));
  c.optimizer.tensors.emplace_back("exp_avg.blocks.0.mlp.fc1.weight", filled({64, 90}, 8));
  return c;
}

// Mutation `number` of a file: a flipped bit, a shorter file or a zeroed page, and where it begins to differ.
std::string mutated(const std::string& good, uint64_t number, size_t* at) {
  const Philox random(0, Purpose::test, 6, number);
  std::string bad = good;
  const auto size = static_cast<uint32_t>(good.size());
  *at = random.below(1, size);
  switch (random.below(0, 3)) {
    case 0: bad[*at] = static_cast<char>(bad[*at] ^ 1 << random.below(2, 8)); break;
    case 1: bad.resize(*at); break;
    default:
      *at = *at / 4096 * 4096;
      std::fill(bad.begin() + static_cast<std::ptrdiff_t>(*at),
                bad.begin() + static_cast<std::ptrdiff_t>(std::min(*at + 4096, bad.size())), '\0');
      while (*at < bad.size() && bad[*at] == good[*at]) ++*at;
  }
  return bad;
}

}  // namespace

TEST_CASE("recipes/checkpoint: 3000 random mutations are rejected, named, and cost one generation") {
  const Quiet quiet;
  const Scratch run;
  save_checkpoint(run.path(), large(1), 2);
  const std::string folder = save_checkpoint(run.path(), large(2), 2);
  int mutations = 0;
  for (uint64_t number = 0; mutations < 3000; ++number) {
    CAPTURE(number);
    const std::string name = kFiles[number % 3], path = folder + "/" + name, good = slurp(path);
    size_t at = 0;
    const std::string bad = mutated(good, number, &at);
    if (bad == good) continue;  // a page that was zero
    ++mutations;
    spill(path, bad);
    const std::string text = complaint(ErrorKind::checkpoint, [&] { load_checkpoint(folder); });
    CHECK_MESSAGE(contains(text, path), text);
    const std::string place = name == kFiles[2] ? "does not match its own checksum"
                                                : place_of(spans_of(good), at);
    CHECK_MESSAGE(contains(text, place), text);
    const LatestCheckpoint latest = load_latest(run.path());
    CHECK(latest.folder == run / "checkpoints/step-1");
    check_same(latest.content, large(1));
    CHECK(load_weights(run.path()).info.step == (name == kFiles[1] ? 2 : 1));
    spill(path, good);
  }
  check_same(load_latest(run.path()).content, large(2));
  MESSAGE(mutations << " mutations");
}

TEST_CASE("recipes/checkpoint: files of two checkpoints do not mix; a stranger among them does no harm") {
  const Quiet quiet;
  const Scratch run;
  const std::string one = save_checkpoint(run.path(), example(1), 2);
  const std::string two = save_checkpoint(run.path(), example(2), 2);
  for (const char* name : kFiles) {
    const std::string good = slurp(two + "/" + name);
    spill(two + "/" + name, slurp(one + "/" + name));
    const std::string text = complaint(ErrorKind::checkpoint, [&] { load_checkpoint(two); });
    CHECK_MESSAGE(contains(text, "checksum"), text);
    CHECK(load_latest(run.path()).folder == one);
    fs::remove(two + "/" + name);
    CHECK(contains(complaint(ErrorKind::checkpoint, [&] { load_checkpoint(two); }), name));
    CHECK(load_latest(run.path()).folder == one);
    spill(two + "/" + name, good);
  }
  spill(two + "/notes.txt", "mine");
  check_same(load_latest(run.path()).content, example(2));
}

TEST_CASE("recipes/checkpoint: a newest checkpoint of another format is no reason to lose its steps") {
  const Quiet quiet;
  const Scratch run;
  save_checkpoint(run.path(), example(1), 2);
  const std::string path = save_checkpoint(run.path(), example(2), 2) + "/manifest.json";
  std::string text = slurp(path);
  text.replace(text.find("\"format\": 1"), 11, "\"format\": 2");
  const size_t rest = text.find('\n') + 1;  // its own sum covers all after the first line
  text.replace(text.find(": \"") + 3, 32, checksum(text.data() + rest, text.size() - rest));
  spill(path, text);
  for (const auto& load : std::vector<std::function<void()>>{[&] { load_latest(run.path()); },
                                                             [&] { load_weights(run.path()); }}) {
    const std::string why = complaint(ErrorKind::checkpoint, load);
    CHECK_MESSAGE(contains(why, path + ": format 2 is unknown to this build, which reads format 1"), why);
  }
}

}  // namespace tessera
