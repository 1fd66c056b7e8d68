// The run's JSON lines and folder: resumes, torn lines, refused disks, folders that are not a run's.
#include "recipes/trainer/run_log.h"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "engine/log.h"
#include "recipes/trainer/run_folder.h"
#include "tests/recipes/scratch.h"

namespace tessera {
namespace {

using test::FaultyDisk;
using test::Scratch;
using test::slurp;
using test::spill;
namespace fs = std::filesystem;

void log_steps(RunLog& log, int64_t begin, int64_t end, double clock) {
  for (int64_t s = begin; s <= end; ++s) {
    log.step(s, {{"epoch", static_cast<double>(s) / 3}, {"loss", 1.0 / static_cast<double>(s)}},
             {{"img/s", clock}});
  }
}

// log.jsonl without what depends on the clock.
std::vector<nlohmann::json> timeless(const std::string& path) {
  std::istringstream text(slurp(path));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) {
    lines.push_back(nlohmann::json::parse(line));
    lines.back().erase("time");
  }
  return lines;
}

std::string refusal(const std::string& path, Existing existing) {
  try {
    open_run_folder(path, existing, "a: 1\n");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::config);
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("recipes/run_log: lines are JSON, and numbers exact") {
  const Scratch run;
  {
    RunLog log(run.path(), 0);
    log.step(1, {{"loss", 0.1}, {"lr", 1e-300}, {"a \"b\"", 3}}, {{"s", 0.25}});
    log.step(2, {{"loss", std::numeric_limits<double>::quiet_NaN()},
                 {"x", -std::numeric_limits<double>::infinity()}});
  }
  CHECK(slurp(run / "log.jsonl") ==
        "{\"step\":1,\"loss\":0.1,\"lr\":1e-300,\"a \\\"b\\\"\":3,\"time\":{\"s\":0.25}}\n"
        "{\"step\":2,\"loss\":\"nan\",\"x\":\"-inf\"}\n");
}

TEST_CASE("recipes/run_log: a resumed log equals an unbroken one, but for the clock") {
  const Scratch whole, broken;
  {
    RunLog log(whole.path(), 0);
    log_steps(log, 1, 12, 100);
  }
  {
    RunLog log(broken.path(), 0);
    log_steps(log, 1, 9, 50);
  }
  // Killed in the middle of a line; the checkpoint is of step 6.
  spill(broken / "log.jsonl", slurp(broken / "log.jsonl") + "{\"step\":10,\"lo");
  {
    RunLog log(broken.path(), 6);
    CHECK(timeless(broken / "log.jsonl").size() == 6);
    log_steps(log, 7, 12, 200);
  }
  CHECK(timeless(broken / "log.jsonl") == timeless(whole / "log.jsonl"));
  {
    const std::string before = slurp(whole / "log.jsonl");
    RunLog log(whole.path(), 12);
    CHECK(slurp(whole / "log.jsonl") == before);
  }
  RunLog(whole.path(), 0).step(1, {});
  CHECK(slurp(whole / "log.jsonl") == "{\"step\":1}\n");
}

TEST_CASE("recipes/run_log: a broken sample is listed once in a run, also over resumes") {
  const Scratch run;
  {
    RunLog log(run.path(), 0);
    log.bad_sample(7, R"({"index":7,"path":"a.jpg"})");
    log.bad_sample(3, R"({"index":3,"path":"b.jpg"})");
    log.bad_sample(7, R"({"index":7,"path":"a.jpg"})");
  }
  RunLog log(run.path(), 1);
  log.bad_sample(3, R"({"index":3,"path":"b.jpg"})");
  log.bad_sample(4, R"({"index":4,"path":"c.jpg"})");
  CHECK(slurp(run / "bad_samples.jsonl") ==
        "{\"index\":7,\"path\":\"a.jpg\"}\n{\"index\":3,\"path\":\"b.jpg\"}\n{\"index\":4,\"path\":\"c.jpg\"}"
        "\n");
}

TEST_CASE("recipes/run_log: a disk that refuses does not stop the run") {
  log::set_level(log::Level::error);
  for (int fault = 0; fault < 8; ++fault) {
    const Scratch run;
    FaultyDisk disk(FaultyDisk::full, fault);
    RunLog log(run.path(), 0, disk);
    log_steps(log, 1, 3, 1);
    log.bad_sample(1, "{\"index\":1}");
  }
  log::set_level(log::Level::info);
}

TEST_CASE("recipes/run_folder: a new folder says what runs in it") {
  const Scratch scratch;
  const std::string run = scratch / "a/b";
  open_run_folder(run, Existing::refuse, "epochs: 3\n");
  CHECK(slurp(run + "/config.resolved.yaml") == "epochs: 3\n");
  const auto env = nlohmann::json::parse(slurp(run + "/env.json"));
  for (const char* key : {"commit", "flags", "instruction_set", "cpu", "threads", "started"})
    CHECK(env.contains(key));
}

TEST_CASE("recipes/run_folder: a folder that is not empty needs --resume or --overwrite") {
  const Scratch scratch;
  const std::string run = scratch / "run";
  open_run_folder(run, Existing::refuse, "train:\n  keep: 3\n");
  for (const char* name : {"/log.jsonl", "/events.out.tfevents.1.2", "/notes.txt"}) spill(run + name, "x");
  fs::create_directories(run + "/checkpoints/step-1");
  spill(run + "/checkpoints/step-1/manifest.json", "x");
  CHECK(refusal(run, Existing::refuse) ==
        "--out " + run + ": not empty; --resume continues it, --overwrite starts over");
  log::set_level(log::Level::error);
  open_run_folder(run, Existing::resume, "train:\n  keep: 4\n");
  log::set_level(log::Level::info);
  CHECK(slurp(run + "/config.resolved.yaml") == "train:\n  keep: 4\n");
  CHECK(fs::exists(run + "/checkpoints/step-1/manifest.json"));
  // Starting over removes what a run writes, and nothing else; a link is removed, not followed.
  fs::create_directories(scratch / "elsewhere");
  spill(scratch / "elsewhere/kept", "x");
  fs::create_directory_symlink(scratch / "elsewhere", run + "/checkpoints/step-2");
  open_run_folder(run, Existing::overwrite, "epochs: 5\n");
  CHECK_FALSE(fs::exists(run + "/checkpoints"));
  CHECK_FALSE(fs::exists(run + "/log.jsonl"));
  CHECK_FALSE(fs::exists(run + "/events.out.tfevents.1.2"));
  CHECK(fs::exists(run + "/notes.txt"));
  CHECK(fs::exists(scratch / "elsewhere/kept"));
  CHECK(slurp(run + "/config.resolved.yaml") == "epochs: 5\n");
}

TEST_CASE("recipes/run_folder: a resume that would change the weights is refused, key by key") {
  log::set_level(log::Level::error);
  const Scratch scratch;
  const std::string run = scratch / "run";
  const std::string config =
      "model:\n  depth: 2\ndata:\n  mean: [0.5, 0.25]\n  workers: 2\ntrain:\n  seed: 0\n  max_steps: 0\n";
  open_run_folder(run, Existing::refuse, config);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    text.replace(text.find(from), from.size(), to);
    try {
      open_run_folder(run, Existing::resume, text);
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::config);
      CHECK(slurp(run + "/config.resolved.yaml") == config);
      return std::string(e.what());
    }
    const std::string written = slurp(run + "/config.resolved.yaml");
    spill(run + "/config.resolved.yaml", config);
    return written == text ? std::string("accepted") : written;
  };
  const std::string why = "--out " + run + ": --resume with another configuration: ";
  const std::string remedy =
      ". Give the earlier values; or begin a run from these weights, with another --out "
      "and --init-from " +
      run;
  CHECK(changed("depth: 2", "depth: 3") == why + "model.depth was 2, is 3" + remedy);
  CHECK(changed("[0.5, 0.25]", "[0.5, 0.125]") ==
        why + "data.mean was [0.5, 0.25], is [0.5, 0.125]" + remedy);
  CHECK(changed("  seed: 0\n", "") == why + "train.seed was 0, is gone" + remedy);
  CHECK(changed("2\ndata:\n  mean: [0.5, 0.25]\n  workers: 2\ntrain:\n  seed: 0",
                "4\ndata:\n  mean: []\n  workers: 1\ntrain:\n  seed: 7") ==
        why + "model.depth was 2, is 4; data.mean was [0.5, 0.25], is []; train.seed was 0, is 7" + remedy);
  // Where a key stands, how it is written, and what a resumed run may change.
  CHECK(changed("workers: 2", "workers: 0") == "accepted");
  CHECK(changed("max_steps: 0", "max_steps: 9") == "accepted");
  CHECK(changed("max_steps: 0", "max_steps: 0\n  newer: 1") == "accepted");
  CHECK(changed("data:\n  mean: [0.5, 0.25]\n  workers: 2", "data: {workers: 2, mean: [0.5, 0.25]}") ==
        "accepted");
  log::set_level(log::Level::info);
}

TEST_CASE("recipes/run_folder: a folder that holds something else is left alone") {
  const Scratch scratch;
  fs::create_directories(scratch / "thesis/checkpoints");
  for (Existing existing : {Existing::resume, Existing::overwrite}) {
    CHECK(refusal(scratch / "thesis", existing).find("no run lies there") != std::string::npos);
  }
  CHECK(fs::exists(scratch / "thesis/checkpoints"));
  spill(scratch / "file", "x");
  CHECK(refusal(scratch / "file", Existing::overwrite).find("is not a folder") != std::string::npos);
  // Nothing there yet: --resume begins the run, so that one command serves first start and restart.
  open_run_folder(scratch / "new", Existing::resume, "a: 1\n");
  CHECK(fs::exists(scratch / "new/config.resolved.yaml"));
}

}  // namespace tessera
