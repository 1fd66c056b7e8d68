// Every fixture in tests/golden that a parity case serves, at the limits of the fixtures' README; models in
// bf16 as well.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "recipes/trainer/parity.h"

namespace tessera {
namespace {

std::vector<std::string> golden_files() {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/tests/golden")) {
    // A file without a configuration is no fixture (pictures.safetensors: files and pixels of the data room).
    if (entry.path().extension() == ".safetensors" &&
        load_safetensors(entry.path()).metadata.contains("config")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void check(const std::string& path, Precision precision) {
  CAPTURE(path);
  const ParityFile file = run_parity(path, precision);
  for (const ParityRow& r : file.rows()) {
    CHECK_MESSAGE(r.ok(), fmt::format("{}: error {:.3g}, limit {:.3g} {}", r.key, r.error, r.limit, r.note));
  }
  for (const std::string& key : file.unread()) FAIL_CHECK(fmt::format("{} was left unread", key));
  CHECK_FALSE(file.rows().empty());
}

bool is_model(const std::string& path) {
  const std::string file = std::filesystem::path(path).filename();
  return file.starts_with("mae_pretrain") || file.starts_with("cls_") || file.starts_with("linprobe_");
}

}  // namespace

TEST_CASE("recipes/parity: every fixture in f32") {
  const std::vector<std::string> files = golden_files();
  CHECK(files.size() >= 10);
  for (const std::string& path : files) check(path, Precision::f32());
}

TEST_CASE("recipes/parity: model fixtures in bf16") {
  for (const std::string& path : golden_files()) {
    if (is_model(path)) check(path, Precision::bf16());
  }
}

TEST_CASE("recipes/parity: a limit of zero on one element hides no error of another") {
  SafeTensors f;
  f.metadata["config"] = "{}";
  const Tensor want({4}, DType::f64), got({4}, DType::f64);
  for (int64_t i = 0; i < 4; ++i) want.data<double>()[i] = got.data<double>()[i] = static_cast<double>(i);
  f.tensors.emplace_back("out.x", want);
  const auto passes = [&](int64_t at, double value) {
    const Tensor changed = got.clone();
    changed.data<double>()[at] = value;
    ParityFile file(f, Precision::f32());
    file.within("out.x", changed, 0, 0, 1e-6);
    return file.rows().at(0).ok();
  };
  CHECK(passes(0, 0.0));
  CHECK(passes(3, 3.000002));
  CHECK_FALSE(passes(3, 3.000004));
  CHECK_FALSE(passes(0, 1e-30));
  CHECK_FALSE(passes(2, std::numeric_limits<double>::quiet_NaN()));
}

TEST_CASE("recipes/parity: an option nobody reads, a missing one and a kind nobody serves are refused") {
  SafeTensors f = load_safetensors(std::string(TESSERA_SOURCE_DIR) +
                                   "/tests/golden/mae_pretrain_a.safetensors");
  const std::string path = std::filesystem::temp_directory_path() / "tessera_parity_test.safetensors";
  const std::string config = f.metadata["config"];
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = config;
    const size_t at = changed.find(from);
    REQUIRE(at != std::string::npos);
    f.metadata["config"] = changed.replace(at, from.size(), to);
    save_safetensors(path, f);
    return path;
  };
  CHECK_THROWS_AS(run_parity(with("\"batch\": 3", "\"batch\": 3, \"layer_scale\": 0.1"), {}), UnknownOption);
  CHECK_THROWS_AS(run_parity(with("\"embed_dim\": 24, ", ""), {}), UnknownOption);
  CHECK_THROWS_AS(run_parity(with("\"mae_pretrain\"", "\"nobody\""), {}), UnknownOption);
  CHECK_THROWS_AS(run_parity(with("\"qkv_bias\": true", "\"qkv_bias\": false"), {}), UnknownOption);

  f.tensors.emplace_back("out.extra", Tensor({1}, DType::f32));
  *f.tensors.back().second.data<float>() = 0;
  CHECK(run_parity(with("\"batch\": 3", "\"batch\": 3"), {}).unread() ==
        std::vector<std::string>{"out.extra"});
  std::filesystem::remove(path);
}

}  // namespace tessera
