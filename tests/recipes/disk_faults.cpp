// Disks that refuse: every call of a save and of a whole run fails once with no space, an I/O error or a
// short write; disks that go on refusing; disks that are too small.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/check.h"
#include "engine/fault.h"
#include "recipes/mae/pretrain.h"
#include "recipes/trainer/run_log.h"
#include "recipes/trainer/trainer.h"
#include "tests/recipes/checkpoint_example.h"

namespace tessera {

using namespace test::checkpoints;
using test::FaultyDisk;
using test::Scratch;
using test::slurp;
using test::spill;
namespace fs = std::filesystem;

namespace {

constexpr const char* kFaults[] = {"create:{}=enospc", "create:{}=eio",    "write:{}=enospc",
                                   "write:{}=eio",     "write:{}=short",   "sync:{}=enospc",
                                   "sync:{}=eio",      "rename:{}=enospc", "rename:{}=eio"};

// Calls work(text of the fault) under each fault at each call, until a run of it meets the fault no more.
// Returns how many faults came.
int for_each_fault(const std::string& also, const std::function<void(const std::string&)>& work) {
  int faults = 0;
  for (const char* form : kFaults) {
    for (int call = 1;; ++call) {
      const std::string fault = fmt::format(fmt::runtime(form), call);
      CAPTURE(fault);
      const fault::Scope scope(fault + also);
      const int64_t before = scope.fired();
      work(fault);
      const std::string point = fault.substr(0, fault.find(':'));
      CHECK(before == 0);
      if (scope.visits(point) < call) {
        CHECK(call > 1);
        break;
      }
      ++faults;
    }
  }
  return faults;
}

// Names in a run's checkpoints folder, without their order.
std::set<std::string> generations(const std::string& run) {
  std::set<std::string> names;
  for (const auto& e : fs::directory_iterator(run + "/checkpoints")) names.insert(e.path().filename());
  return names;
}

// The real disk with little room left.
class TightDisk : public FaultyDisk {
 public:
  TightDisk() : FaultyDisk(FaultyDisk::full, 1 << 30) {}
  int64_t free_bytes(const std::string&) override { return 10'000'000; }
};

MaeSettings tiny() {
  MaeSettings s;
  s.model.patch = 4;
  s.model.dim = 8;
  s.model.depth = 1;
  s.model.heads = 2;
  s.model.decoder_dim = 8;
  s.model.decoder_depth = 1;
  s.model.decoder_heads = 2;
  s.data.train = "synthetic:12,9x9x1";
  s.data.height = s.data.width = 8;
  s.data.channels = 1;
  s.data.mean = {0.5};
  s.data.std = {0.25};
  s.data.workers = 0;
  s.data.max_bad_fraction = 1;
  s.optim.warmup_epochs = 0;
  s.train.epochs = 1;
  s.train.batch = 4;
  s.train.log_every = 1;
  s.train.save_every = 2;
  s.train.picture_every = 2;
  return s;
}

int train_tiny(const std::string& out, Existing existing = Existing::refuse) {
  const MaeSettings s = tiny();
  Invocation call;
  call.out = out;
  call.existing = existing;
  MaePretrain recipe(s);
  return train(recipe, {s.data, s.optim, s.train, to_yaml(s)}, call);
}

std::vector<nlohmann::json> json_lines(const std::string& path) {
  std::istringstream text(slurp(path));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("time");
  }
  return lines;
}

}  // namespace

TEST_CASE("recipes/checkpoint: a disk that refuses any one call of a save gets the save at the next try") {
  const Quiet quiet;
  const Scratch scratch;
  int runs = 0;
  const int faults = for_each_fault("", [&](const std::string&) {
    const std::string run = scratch / std::to_string(runs++);
    {
      const fault::Scope none("");
      for (int64_t step : {1, 2}) save_checkpoint(run, example(step), 2);
    }
    save_checkpoint(run, example(3), 2);
    const auto [folder, c] = load_latest(run);
    CHECK(c.info.step == 3);
    check_same(c, example(3));
    const auto names = generations(run);  // a refused rename keeps the oldest until the next save
    CHECK((names == std::set<std::string>{"step-2", "step-3"} ||
           names == std::set<std::string>{"step-1", "step-2", "step-3"}));
  });
  CHECK(faults > 60);
  MESSAGE(faults << " faults in a save");
}

TEST_CASE("recipes/checkpoint: a disk that goes on refusing costs the save, and says what to do") {
  const Quiet quiet;
  for (int first : {0, 3, 8, 17}) {
    CAPTURE(first);
    const Scratch run;
    for (int64_t step : {1, 2}) save_checkpoint(run.path(), example(step), 2);
    FaultyDisk disk(FaultyDisk::stays_full, first);
    const std::string text = complaint(ErrorKind::io,
                                       [&] { save_checkpoint(run.path(), example(3), 2, disk); });
    CHECK_MESSAGE(contains(text, run / "checkpoints/step-3 is not saved, after 3 tries: cannot"), text);
    CHECK_MESSAGE(contains(text, "no space left on device"), text);
    CHECK(generations(run.path()) == std::set<std::string>{"step-1", "step-2"});
    check_same(load_latest(run.path()).content, example(2));
    save_checkpoint(run.path(), example(4), 2);
    CHECK(generations(run.path()) == std::set<std::string>{"step-2", "step-4"});
  }
}

TEST_CASE("recipes/checkpoint: a disk with too little room is not filled up") {
  const Quiet quiet;
  const Scratch run;
  save_checkpoint(run.path(), example(1), 2);
  TightDisk disk;
  const std::string text = complaint(ErrorKind::io,
                                     [&] { save_checkpoint(run.path(), example(2), 2, disk); });
  CHECK_MESSAGE(contains(text, "step-2: it needs 17 MB and 10 MB are free; make room on the disk"), text);
  CHECK(generations(run.path()) == std::set<std::string>{"step-1"});
}

TEST_CASE("recipes/checkpoint: a limit on file sizes is an error, not the end of the process") {
  const Quiet quiet;
  const Scratch run;
  save_checkpoint(run.path(), example(1), 2);
  Checkpoint large = example(2);
  large.model.tensors.emplace_back("blocks.0.mlp.fc1.weight", filled({1024, 1024}, 1));
  struct rlimit before {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit low = before;
  low.rlim_cur = 3'000'000;  // inside the tensor
  REQUIRE(setrlimit(RLIMIT_FSIZE, &low) == 0);
  std::string text;
  try {
    save_checkpoint(run.path(), large, 2);
  } catch (const Error& e) {
    text = e.what();
  }
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK_MESSAGE(contains(text, "File too large; a limit on file sizes is set (ulimit -f)"), text);
  CHECK(generations(run.path()) == std::set<std::string>{"step-1"});
  save_checkpoint(run.path(), large, 2);
  check_same(load_latest(run.path()).content, large);
}

TEST_CASE("recipes/run_log: a disk that refuses any one call loses no line and tears none") {
  const Quiet quiet;
  const Scratch scratch;
  int runs = 0;
  const int faults = for_each_fault("", [&](const std::string&) {
    const Scratch run;
    spill(run / "log.jsonl", "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st");
    spill(run / "bad_samples.jsonl", "{\"index\":5}\n{\"index\":5}\n");
    {
      RunLog log(run.path(), 2);
      log.step(3, {{"loss", 0.5}});
      log.bad_sample(5, "{\"index\":5}");
      log.bad_sample(7, "{\"index\":7}");
      log.sync();
      log.step(4, {});
    }
    ++runs;
    CHECK(slurp(run / "log.jsonl") ==
          "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\":0.5}\n{\"step\":4}\n");
    CHECK(json_lines(run / "bad_samples.jsonl").back()["index"] == 7);
  });
  CHECK(faults > 30);
  CHECK(runs == faults + 9);
  MESSAGE(faults << " faults in a log");
}

TEST_CASE("recipes/trainer: a disk that refuses any one call changes neither the weights nor the log") {
  const Quiet quiet;
  const Scratch scratch;
  const std::string also = ",loader.sample:3=fail,loader.sample:10=fail";
  const std::string clean = scratch / "clean";
  {
    const fault::Scope scope(also.substr(1));
    CHECK(train_tiny(clean) == 0);
  }
  const Checkpoint whole = load_latest(clean).content;
  CHECK(whole.info.step == 3);
  CHECK(json_lines(clean + "/bad_samples.jsonl").size() == 2);
  int runs = 0, refused = 0;
  const int faults = for_each_fault(also, [&](const std::string&) {
    const std::string out = scratch / std::to_string(runs++);
    try {
      const int code = train_tiny(out);
      CHECK(code == 0);
    } catch (const Error& e) {  // only a run that cannot say what it is does not start; then nothing is there
      CHECK(e.kind() == ErrorKind::io);
      CHECK_FALSE(fs::exists(out + "/log.jsonl"));
      ++refused;
      const bool begun = fs::exists(out + "/config.resolved.yaml");
      const fault::Scope none(also.substr(1));
      CHECK(train_tiny(out, begun ? Existing::resume : Existing::refuse) == 0);
    }
    const Checkpoint c = load_latest(out).content;
    CHECK(c.info.step == 3);
    check_tensors(c.model, whole.model);
    check_tensors(c.optimizer, whole.optimizer);
    CHECK(json_lines(out + "/log.jsonl") == json_lines(clean + "/log.jsonl"));
    CHECK(json_lines(out + "/bad_samples.jsonl") == json_lines(clean + "/bad_samples.jsonl"));
    fs::remove_all(out);
  });
  CHECK(faults > 800);
  CHECK(refused < 20);
  MESSAGE(faults << " faults in a run; " << refused << " did not let it start, and it was started again");
}

}  // namespace tessera
