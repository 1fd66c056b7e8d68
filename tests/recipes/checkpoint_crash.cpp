// Power cuts: every prefix of what a save does to the disk, with what was not synced kept, lost or in pieces.
#include <doctest/doctest.h>

#include <functional>

#include "engine/check.h"
#include "recipes/trainer/checkpoint.h"
#include "tests/recipes/checkpoint_example.h"
#include "tests/recipes/recording_disk.h"

namespace tessera {

using namespace test::checkpoints;
using test::Crash;
using test::RecordingDisk;
using test::Scratch;
using test::slurp;
using test::spill;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kSeeds = 20;

// Calls judge(folder, whole) for every state a crash may leave behind; `whole` when all operations were done.
// Returns the number of states.
int for_each_crash(const RecordingDisk& disk, const std::function<void(const std::string&, bool)>& judge) {
  int states = 0;
  for (size_t count = 0; count <= disk.operations(); ++count) {
    CAPTURE(count);
    const std::string last = count == 0 ? "nothing" : disk.describe(count - 1);
    CAPTURE(last);
    for (uint64_t variant = 0; variant < 2 + kSeeds; ++variant) {
      CAPTURE(variant);
      const Crash crash = variant == 0   ? Crash::keeps_all
                          : variant == 1 ? Crash::keeps_synced
                                         : Crash::keeps_any_part;
      const Scratch after;
      disk.replay(count, crash, variant, after.path());
      judge(after.path(), count == disk.operations());
      ++states;
    }
  }
  return states;
}

// Saves example(step) onto a run and expects of every crash the newest checkpoint before it or this one, and
// this one once the save is done. `older` 0: there is none, and none is a right answer.
int exhaust(const std::string& run, int64_t older, int64_t step) {
  const Quiet quiet;
  RecordingDisk disk(run);
  save_checkpoint(run, example(step), 2, disk);
  CHECK(disk.operations() > 20);
  return for_each_crash(disk, [&](const std::string& after, bool whole) {
    const auto [folder, c] = load_latest(after);
    if (folder.empty()) {
      CHECK(older == 0);
      CHECK_FALSE(whole);
      return;
    }
    CHECK((c.info.step == step || (c.info.step == older && !whole)));
    check_same(c, example(c.info.step));
  });
}

}  // namespace

TEST_CASE("recipes/checkpoint: after a power cut at any moment of a save the old or the new is there") {
  int states = 0;
  {
    const Scratch run;
    save_checkpoint(run.path(), example(1), 2);
    states += exhaust(run.path(), 1, 2);
  }
  {  // an old generation goes, and what a killed save left
    const Scratch run;
    for (int64_t step : {1, 2}) save_checkpoint(run.path(), example(step), 2);
    fs::create_directories(run / "checkpoints/.tmp-3-dead");
    spill(run / "checkpoints/.tmp-3-dead/model.safetensors", "half");
    states += exhaust(run.path(), 2, 3);
  }
  {  // a damaged folder of the same step is replaced
    const Scratch run;
    for (int64_t step : {1, 2, 3}) save_checkpoint(run.path(), example(step), 2);
    spill(run / "checkpoints/step-3/model.safetensors", "damaged");
    states += exhaust(run.path(), 2, 3);
  }
  {  // the first checkpoint of a run
    const Scratch run;
    states += exhaust(run.path(), 0, 1);
  }
  CHECK(states > 2400);
  MESSAGE(states << " states after a power cut");
}

TEST_CASE("recipes/disk: after a power cut at any moment a replaced file is the old or the new") {
  const Scratch folder;
  spill(folder / "a.txt", "the old text");
  RecordingDisk disk(folder.path());
  replace_file(disk, folder / "a.txt", "the new text, which is longer");
  for_each_crash(disk, [&](const std::string& after, bool whole) {
    const std::string text = slurp(after + "/a.txt");
    CHECK((text == "the new text, which is longer" || (text == "the old text" && !whole)));
  });
}

}  // namespace tessera
