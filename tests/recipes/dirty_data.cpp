// Dirty data: a training run over 2,000 pictures of which forty are damaged in eight ways.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/write_png.h"
#include "engine/check.h"
#include "engine/random.h"
#include "recipes/mae/commands.h"
#include "tests/data/pictures.h"
#include "tests/recipes/program.h"

namespace tessera::test {
namespace {

constexpr int kPictures = 2000, kEvery = 50;  // one of fifty is damaged

// Eight ways to lose a picture; each is certain to show.
std::string damaged(const std::string& jpeg, const std::string& png, int way, const Philox& r) {
  const auto somewhere = [&](const std::string& file) {
    return 1 + r.below(0, static_cast<uint32_t>(file.size()) - 2);
  };
  switch (way) {
    case 0: return "";
    case 1: return jpeg.substr(0, somewhere(jpeg));
    case 2: return png.substr(0, somewhere(png));
    case 3: return std::string(jpeg.size(), '\0');
    case 4: return "<html>404 Not Found</html>";
    case 5: {  // a bit of a PNG's pixels
      std::string file = png;
      file[file.find("IDAT") + 10] ^= 16;
      return file;
    }
    case 6: {  // a picture of 65500 x 65500
      std::string file = jpeg;
      const size_t frame = file.find("\xff\xc0");
      for (const size_t at : {frame + 5, frame + 7}) file[at] = '\xff', file[at + 1] = '\xdc';
      return file;
    }
    default: return "GIF89a" + png;
  }
}

// Writes the folder; returns the names of what is damaged.
std::set<std::string> write_pictures(const TempDir& dir) {
  std::set<std::string> bad;
  for (int i = 0; i < kPictures; ++i) {
    const Picture picture = test_picture(16 + i % 5, 16 + i % 3, 3, static_cast<uint64_t>(i));
    const bool is_jpeg = i % 2 == 0;
    const std::string name = fmt::format("{}/{:04d}.{}", i % 4, i, is_jpeg ? "jpg" : "png");
    const std::string jpeg = encode_jpeg(picture), png = encode_png(picture);
    if (i % kEvery == 7) {
      const Philox random(3, Purpose::test, 0, static_cast<uint64_t>(i));
      dir.write(name, damaged(jpeg, png, i / kEvery % 8, random));
      bad.insert(dir.path(name));
    } else {
      dir.write(name, is_jpeg ? jpeg : png);
    }
  }
  return bad;
}

Ran train(const TempDir& dir, const std::string& out, int workers, const std::string& limit) {
  return run_program({"pretrain",
                      "model.patch=8",
                      "model.dim=24",
                      "model.depth=1",
                      "model.heads=3",
                      "model.decoder_dim=16",
                      "model.decoder_depth=1",
                      "model.decoder_heads=2",
                      "data.train=folder:" + dir.path(),
                      "data.height=16",
                      "data.width=16",
                      fmt::format("data.workers={}", workers),
                      "data.max_bad_fraction=" + limit,
                      "train.epochs=2",
                      "train.batch=50",
                      "train.log_every=1",
                      "optim.warmup_epochs=0",
                      "train.picture_every=1000000",
                      "train.save_every=1000000",
                      "--out",
                      out},
                     mae_commands());
}

// Loss, rate and norm of every step; what depends on the clock left out.
std::string losses(const std::string& out) {
  std::istringstream in(slurp(out + "/log.jsonl"));
  std::string all;
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json j = nlohmann::json::parse(line);
    all += fmt::format("{} {} {}\n", j["step"].dump(), j["loss"].dump(), j["grad_norm"].dump());
  }
  return all;
}

}  // namespace

TEST_CASE("recipes/dirty_data: two in a hundred pictures damaged, listed once each, the same on repeat") {
  const TempDir dir;
  const Scratch runs;
  const std::set<std::string> bad = write_pictures(dir);
  REQUIRE(bad.size() == 40);
  std::string first_list, first_losses;
  int run = 0;
  for (const int workers : {0, 0, 1, 3}) {
    const std::string out = runs / fmt::format("{}", run++);
    const Ran r = train(dir, out, workers, "0.03");
    CHECK_MESSAGE(r.code == 0, r.err);
    const std::string list = slurp(out + "/bad_samples.jsonl"), loss = losses(out);
    if (run == 1) {
      first_list = list;
      first_losses = loss;
      std::set<std::string> listed;
      std::istringstream in(list);
      for (std::string line; std::getline(in, line);) {
        const nlohmann::json j = nlohmann::json::parse(line);
        const std::string path = j["path"], reason = j["reason"];
        CHECK_MESSAGE(listed.insert(path).second, path);  // once, though two epochs met it
        CHECK_MESSAGE(reason.starts_with("picture " + path + ": "), reason);
        CHECK(has(reason, "replace the file or take it out of the data set"));
        CHECK(j["substitute"] != j["index"]);
      }
      CHECK(listed == bad);
      CHECK(std::count(loss.begin(), loss.end(), '\n') == 80);
    }
    CHECK(list == first_list);
    CHECK(loss == first_losses);
  }
}

TEST_CASE("recipes/dirty_data: above data.max_bad_fraction the run stops with 3 and names the last") {
  const TempDir dir;
  const Scratch runs;
  write_pictures(dir);
  std::string first;
  for (const int workers : {0, 2}) {
    const std::string out = runs / fmt::format("{}", workers);
    const Ran r = train(dir, out, workers, "0.01");
    CHECK(r.code == 3);
    CHECK_MESSAGE(has(r.err, "samples could not be read, more than data.max_bad_fraction=0.01"), r.err);
    CHECK(has(r.err, "mend the data set, or raise the limit"));
    const std::string ended = r.err.substr(r.err.find("error: ")) + slurp(out + "/bad_samples.jsonl");
    if (first.empty()) first = ended;
    CHECK(ended == first);
  }
}

}  // namespace tessera::test
