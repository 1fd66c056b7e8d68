// Bad input at the command line: every case has its exit code and says who, where and what to do; a run that
// is there stays as it was, and no half folder is left.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "data/write_png.h"
#include "recipes/knn/command.h"
#include "recipes/linear_probe/command.h"
#include "recipes/mae/commands.h"
#include "recipes/trainer/checkpoint.h"
#include "tests/data/pictures.h"
#include "tests/recipes/program.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// A network that trains in milliseconds; later overrides win.
Words pretrain(const Words& more) {
  Words all = {"pretrain",
               "model.patch=4",
               "model.dim=24",
               "model.depth=1",
               "model.heads=3",
               "model.decoder_dim=16",
               "model.decoder_depth=1",
               "model.decoder_heads=2",
               "data.train=synthetic:8,16x16x3",
               "data.height=16",
               "data.width=16",
               "data.workers=0",
               "train.epochs=1",
               "train.batch=4",
               "optim.warmup_epochs=0"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Ran mae(const Words& arguments) { return run_program(arguments, mae_commands()); }

// Every file below a folder with its bytes.
std::map<std::string, std::string> content(const std::string& dir) {
  std::map<std::string, std::string> files;
  for (const auto& e : fs::recursive_directory_iterator(dir))
    files[e.path().string()] = e.is_regular_file() ? slurp(e.path().string()) : "";
  return files;
}

struct Case {
  Words arguments;  // beside the small network's
  int code;
  Words says;  // each must be in the one line on stderr
};

// A run of two steps to be put at risk.
struct Runs {
  Scratch scratch;
  std::string good = scratch / "good";
  Runs() { REQUIRE(mae(pretrain({"--out", good})).code == 0); }
  std::string step() const { return load_latest(good).folder; }
};

void check_said(const Ran& r, const Case& c) {
  CHECK_MESSAGE(r.code == c.code, r.err);
  const size_t error = r.err.find("error: ");  // steps that went well are reported before it
  REQUIRE_MESSAGE(error != std::string::npos, r.err);
  for (const std::string& part : c.says) CHECK_MESSAGE(has(r.err.substr(error), part), r.err);
}

// Refused for a new folder, which must not come to be, and with --overwrite, which must not begin.
void check_refused(const Runs& runs, const Case& c) {
  std::string what;
  for (const std::string& a : c.arguments) what += a + " ";
  CAPTURE(what);
  Words now = pretrain(c.arguments), over = now;
  const std::string fresh = runs.scratch / "fresh";
  now.insert(now.end(), {"--out", fresh});
  check_said(mae(now), c);
  CHECK_FALSE(fs::exists(fresh));
  const auto before = content(runs.good);
  over.insert(over.end(), {"--out", runs.good, "--overwrite"});
  CHECK(mae(over).code == c.code);
  CHECK(content(runs.good) == before);
}

std::string flipped(std::string bytes, size_t at) {
  bytes.at(at) = static_cast<char>(bytes[at] ^ 4);
  return bytes;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("recipes/bad_input: sizes that do not go together, and sizes that are absurd") {
  const Runs runs;
  const Case cases[] = {
      {{"data.height=18"}, 2, {"image 18x16 is not a multiple of the patch 4x4", "change the image size"}},
      {{"data.width=17"}, 2, {"16x17", "not a multiple"}},
      {{"model.patch=32"}, 2, {"not a multiple of the patch 32x32"}},
      {{"model.mask_ratio=0.99"}, 2, {"mask ratio 0.99"}},
      {{"model.mask_ratio=0.001", "model.patch=16"}, 2, {"mask ratio 0.001"}},
      {{"model.mask_ratio=1"}, 2, {"model.mask_ratio: \"1\" is out of range; it must be > 0 and < 1"}},
      {{"model.mask_ratio=0"}, 2, {"out of range"}},
      {{"model.heads=5"}, 2, {"dim 24 is not divisible by 5 heads"}},
      {{"model.decoder_heads=3"}, 2, {"decoder model: dim 16 is not divisible by 3 heads"}},
      {{"model.dim=30"}, 2, {"width divisible by 4, got 30"}},
      {{"model.decoder_dim=18"}, 2, {"width divisible by 4, got 18"}},
      {{"train.batch=9"}, 2, {"more than the 8 pictures of synthetic:8,16x16x3; lower one"}},
      {{"train.accumulate=3"}, 2, {"train.batch 4 x train.accumulate 3"}},
      {{"optim.warmup_epochs=1"}, 2, {"optim.warmup_epochs 1 leaves nothing of train.epochs 1; lower it"}},
      {{"data.channels=2", "data.mean=[0,0]", "data.std=[1,1]"}, 2, {"pictures of 2 channels: there are 1"}},
      {{"data.channels=1"}, 2, {"data.mean has 3 values for 1 channels"}},
      {{"train.device=cuda:7"}, 2, {"cuda:7"}},
      {{"model.depth=1000000000000"}, 2, {"model.depth", "out of range; it must be >= 1 and <= 1000"}},
      {{"model.dim=1000000000"}, 2, {"model.dim", "out of range; it must be >= 4 and <= 131072"}},
      {{"model.dim=1e9"}, 2, {"model.dim: \"1e9\" is not an integer"}},
      {{"model.heads=3000000000"}, 2, {"model.heads", "does not fit its type"}},
      {{"model.mlp_ratio=1e300"}, 2, {"model.mlp_ratio", "out of range"}},
      {{"model.mlp_ratio=0.001"}, 2, {"mlp_ratio is 0.001", "hidden width"}},
      {{"train.batch=1000000000000"}, 2, {"train.batch", "out of range"}},
      {{"train.epochs=99999999999999999999"}, 2, {"train.epochs", "does not fit its type"}},
      {{"data.height=1000000"}, 2, {"data.height", "<= 65500"}},
      {{"data.train=synthetic:10000000000000,16x16x3"}, 2, {"wanted synthetic:N,HxWxC"}},
      {{"data.train=synthetic:8,99999999x16x3"}, 2, {"wanted synthetic:N,HxWxC"}},
      // Within every range, and together more than the machine has: refused before it is asked for.
      {{"model.dim=131072", "model.heads=2", "model.depth=1000"}, 6, {"out of memory", "parameters"}},
      {{"data.height=65500", "data.width=65500", "model.dim=65536", "model.heads=2"}, 6, {"out of memory"}},
      {{"data.train=synthetic:1000000,16x16x3", "train.batch=1000000", "model.patch=1", "model.dim=1024",
        "model.heads=2", "--dry-run", "model.depth=1000", "model.decoder_dim=131072"},
       6,
       {"out of memory"}},
  };
  for (const Case& c : cases) check_refused(runs, c);
}

TEST_CASE("recipes/bad_input: data that is not there, or is not pictures") {
  const Runs runs;
  const TempDir dir;
  fs::create_directories(dir.path("empty"));
  fs::create_directories(dir.path("hollow/cats"));
  dir.write("texts/cats/a.txt", "no picture");
  dir.write("loose/a.jpg", "x");
  fs::create_directories(dir.path("only_folder/cats/x.jpg"));
  fs::create_directories(dir.path("pipes/cats"));
  REQUIRE(mkfifo(dir.path("pipes/cats/x.jpg").c_str(), 0600) == 0);
  fs::create_directories(dir.path("loop/cats"));
  fs::create_directory_symlink("..", dir.path("loop/cats/again"));
  fs::create_symlink("me", dir.path("me"));
  REQUIRE(mkfifo(dir.path("pipe").c_str(), 0600) == 0);
  dir.write("list_empty", "\n\n");
  dir.write("list_mixed", "a.jpg 1\nb.jpg\n");
  dir.write("list_label", "a.jpg 2147483647\n");
  const std::string idx("\0\0\10\3\0\0\0\2\0\0\0\4\0\0\0\4", 16);
  dir.write("idx_short", idx + std::string(31, 'x'));
  dir.write("idx_magic", "PK\3\4" + std::string(40, 'x'));
  dir.write("idx_overflow", std::string("\0\0\10\4", 4) + std::string(16, '\xff') + std::string(9, 'x'));
  dir.write("idx_none", "");
  const auto at = [&](const char* kind, const char* name) {
    return Words{"data.train=" + std::string(kind) + dir.path(name)};
  };
  const Case cases[] = {
      {{"data.train="}, 2, {"data.train: no value after ="}},
      {{"data.train=pictures"}, 2, {"data source \"pictures\": write folder:DIR, flat:DIR"}},
      {{"data.train=folder:"}, 2, {"write folder:DIR"}},
      {at("folder:", "absent"), 3, {"absent: cannot be read (No such file or directory); check the path"}},
      {at("flat:", "absent"), 3, {"absent: cannot be read"}},
      {at("folder:", "loose/a.jpg"), 3, {"cannot be read (Not a directory)"}},
      {at("folder:", "empty"), 3, {"there is no class folder; check the path"}},
      {at("flat:", "empty"), 3, {"no picture (.jpg, .jpeg or .png) directly in it"}},
      {at("folder:", "hollow"), 3, {"class cats has no picture", "remove the folder or fill it"}},
      {at("folder:", "texts"), 3, {"class cats has no picture"}},
      {at("folder:", "loose"), 3, {"for pictures without classes use flat:"}},
      {at("folder:", "only_folder"), 3, {"class cats has no picture"}},
      {at("folder:", "pipes"), 3, {"class cats has no picture"}},
      {at("folder:", "loop"), 3, {"class cats has no picture"}},
      {at("folder:", "me"), 3, {"cannot be read (Too many levels of symbolic links)"}},
      {at("list:", "absent"), 3, {"data list", "cannot be opened as a file; check the path"}},
      {at("list:", "pipe"), 3, {"cannot be opened as a file"}},
      {{"data.train=list:/dev/zero"}, 3, {"data list /dev/zero: cannot be opened as a file"}},
      {at("list:", "list_empty"), 3, {"names no picture; write one path per line"}},
      {at("list:", "list_mixed"), 3, {"list_mixed, line 2: has not a label, unlike the lines before"}},
      {at("list:", "list_label"), 3, {"list_label, line 1: label 2147483647 is more than 999999"}},
      {at("idx:", "absent"), 3, {"IDX file", "cannot be opened; check the path"}},
      {at("idx:", "pipe"), 3, {"cannot be opened"}},
      {at("idx:", "empty"), 3, {"cannot be opened"}},
      {at("idx:", "idx_short"), 3, {"ends before its 32 bytes of data; fetch it again"}},
      {at("idx:", "idx_magic"), 3, {"begins with 0x504b0304; wanted 0x00000803"}},
      {at("idx:", "idx_overflow"), 3, {"dimensions overflow; it is damaged"}},
      {at("idx:", "idx_none"), 3, {"ends before its 4 bytes"}},
  };
  for (const Case& c : cases) check_refused(runs, c);
}

TEST_CASE("recipes/bad_input: --out") {
  const Runs runs;
  const std::string file = runs.scratch / "file", other = runs.scratch / "other";
  spill(file, "precious");
  fs::create_directories(other);
  spill(other + "/thesis.tex", "precious");
  const auto before = content(runs.good);
  const Case cases[] = {
      {{}, 2, {"--out DIR is missing: the folder for logs, checkpoints and pictures"}},
      {{"--out", file}, 2, {"is not a folder"}},
      {{"--out", file, "--overwrite"}, 2, {"is not a folder"}},
      {{"--out", file + "/run"}, 8, {"cannot list", "Not a directory", "a part of the path is a file"}},
      {{"--out", "/proc/tessera"}, 8, {"cannot create", "/proc/tessera"}},
      {{"--out", runs.scratch / std::string(300, 'x')}, 8, {"File name too long"}},
      {{"--out", other}, 2, {"not empty; --resume continues it, --overwrite starts over"}},
      {{"--out", other, "--overwrite"}, 2, {"no run lies there", "choose another folder"}},
      {{"--out", other, "--resume"}, 2, {"no run lies there", "choose another folder"}},
      {{"--out", runs.good}, 2, {"not empty; --resume continues it, --overwrite starts over"}},
      {{"--out", runs.good, "--resume", "--overwrite"}, 2, {"--resume excludes --overwrite"}},
  };
  for (const Case& c : cases) check_said(mae(pretrain(c.arguments)), c);
  CHECK(slurp(file) == "precious");
  CHECK(content(other).size() == 1);
  CHECK(content(runs.good) == before);
}

// Weights for --init-from, visualize, knn and linear_probe: the same files are refused by all four.
TEST_CASE("recipes/bad_input: weights that cannot be used") {
  const Runs runs;
  const Scratch& s = runs.scratch;
  const std::string model = slurp(runs.step() + "/model.safetensors");
  const auto file = [&](const char* name, const std::string& bytes) {
    return spill(s / name, bytes), s / name;
  };
  const auto step = [&](const char* name, const char* part, auto change) {
    fs::copy(runs.step(), s / name, fs::copy_options::recursive);
    spill(s / name + "/" + part, change(slurp(s / name + "/" + part)));
    return s / name;
  };
  fs::create_directories(s / "folder");
  fs::create_symlink("loop", s / "loop");
  REQUIRE(mkfifo((s / "pipe").c_str(), 0600) == 0);
  const std::pair<std::string, std::string> rows[] = {
      {s / "absent", "does not exist; give a run folder, a step folder or a .safetensors file"},
      {s / "loop", "cannot be read (Too many levels of symbolic links)"},
      {s / std::string(300, 'x'), "cannot be read (File name too long)"},
      {s / "folder", "holds no checkpoint; give a run folder"},
      {s / "pipe", "is neither a file nor a folder"},
      {file("empty", ""), "0 bytes are too short for a safetensors file"},
      {file("text", "hello, I am no model"), "at most 16 MiB are accepted"},
      {file("pickle", std::string("\x80\2}q\0X\1\0\0\0aq\1K\1s.", 17)), "are accepted"},
      {file("short", model.substr(0, model.size() - 1)), "lie outside"},
      {file("header", model.substr(0, 100)), "gives a header of"},
      {file("flip", flipped(model, 8)), "does not begin with"},
      {file("newer", replaced(model, R"("tessera_format":"1")", R"("tessera_format":"2")")),
       "format 2 is unknown to this build, which reads format 1; use a newer build"},
      {step("step_flip", "model.safetensors", [](std::string b) { return flipped(b, b.size() - 9); }),
       "checksum"},
      {step("step_short", "model.safetensors", [](std::string b) { return b.substr(0, b.size() / 2); }),
       "model.safetensors"},
      {step("step_manifest", "manifest.json", [](std::string b) { return flipped(b, b.size() / 2); }),
       "own checksum"},
      {step("step_empty", "manifest.json", [](std::string) { return std::string(); }), "own checksum"},
  };
  const Words evaluated = {"data.train=synthetic:8,16x16x3", "data.test=synthetic:8,16x16x3",
                           "data.workers=0"};
  for (const auto& [path, says] : rows) {
    CAPTURE(path);
    const Case c = {{"--init-from", path}, 4, {path, says}};
    check_refused(runs, c);
    check_said(mae({"visualize", path, "--out", s / "picture.png"}), c);
    CHECK_FALSE(fs::exists(s / "picture.png"));
    Words words = evaluated;
    words.push_back("encoder=" + path);
    check_said(run_program(words, knn_commands(), "knn"), c);
    check_said(run_program(words, linear_probe_commands(), "linear_probe"), c);
  }
}

TEST_CASE("recipes/bad_input: weights of another model, and a run that resumes from nothing but damage") {
  const Runs runs;
  const std::string other = runs.scratch / "other", foreign = runs.scratch / "foreign.safetensors";
  REQUIRE(mae(pretrain({"model.depth=2", "--out", other})).code == 0);
  save_safetensors(foreign, {{}, {{"fc.weight", Tensor({3, 4}, DType::f32)}}});
  check_refused(
      runs,
      {{"--init-from", other}, 4, {"does not fit this model", "blocks.1.norm1.weight [24] is unknown"}});
  check_refused(
      runs, {{"--init-from", foreign}, 4, {"does not fit this model", "cls_token [1, 1, 24] is missing"}});
  check_refused(runs, {{"model.dim=48", "--init-from", runs.good},
                       4,
                       {"cls_token is [1, 1, 24], the model wants [1, 1, 48]"}});
  // Another model's checkpoint put among this run's, sound in itself.
  const std::string mixed = runs.scratch / "mixed";
  fs::copy(runs.good, mixed, fs::copy_options::recursive);
  fs::copy(load_latest(other).folder, mixed + "/checkpoints/step-9", fs::copy_options::recursive);
  const auto before = content(mixed);
  check_said(mae(pretrain({"--resume", "--out", mixed})),
             {{}, 4, {"step-9 does not fit this model", "blocks.1.norm1.weight [24] is unknown"}});
  CHECK(content(mixed) == before);
  check_said(mae({"visualize", foreign, "--out", "x.png"}), {{}, 4, {"holds a foreign model"}});
  const Words evaluated = {"data.train=synthetic:8,16x16x3", "data.test=synthetic:8,16x16x3",
                           "encoder=" + foreign};
  check_said(run_program(evaluated, knn_commands(), "knn"),
             {{}, 4, {foreign, "does not say its image size"}});
  check_said(run_program(evaluated, linear_probe_commands(), "linear_probe"),
             {{}, 4, {foreign, "does not say"}});

  // A description that asks for a trillion blocks is the file's fault, and costs neither time nor memory.
  SafeTensors absurd = load_safetensors(runs.step() + "/model.safetensors");
  absurd.metadata["encoder.depth"] = "1000000000000";
  absurd.metadata["config"] = replaced(absurd.metadata["config"], "depth: 1\n", "depth: 1000000000000\n");
  save_safetensors(runs.scratch / "absurd.safetensors", absurd);
  const std::string path = runs.scratch / "absurd.safetensors";
  check_said(mae({"visualize", path, "--out", "x.png"}),
             {{}, 4, {path, "model.depth", "another version of Tessera"}});
  check_said(
      run_program({"data.train=synthetic:8,16x16x3", "data.test=synthetic:8,16x16x3", "encoder=" + path},
                  knn_commands(), "knn"),
      {{}, 4, {path, "depth is 1000000000000, must be 1 to 1000"}});

  check_said(mae({"visualize", runs.good}), {{}, 2, {"--out must name a .png file"}});
  check_said(mae({"visualize", "--out", "x.png"}), {{}, 2, {"which checkpoint?"}});
  check_said(mae({"visualize", runs.good, "--out", "/proc/x.png"}), {{}, 8, {"/proc/x.png"}});
  check_said(mae({"visualize", runs.good, "images=flat:/absent", "--out", "x.png"}), {{}, 3, {"/absent"}});
  check_said(run_program({}, knn_commands(), "knn"), {{}, 2, {"encoder is not set"}});
}

// Sockets, pipes and folders among the pictures: the run goes on, and nothing waits for them.
TEST_CASE("recipes/bad_input: a list that names what is no file, and a run of nothing but broken pictures") {
  const Runs runs;
  const TempDir dir;
  std::string list;
  for (int i = 0; i < 8; ++i) {
    const std::string name = fmt::format("{}.png", i);
    dir.write(name, encode_png(test_picture(16, 16, 3, static_cast<uint64_t>(i))));
    list += name + "\n";
  }
  REQUIRE(mkfifo(dir.path("pipe.jpg").c_str(), 0600) == 0);
  fs::create_directories(dir.path("folder.jpg"));
  fs::create_symlink("loop.jpg", dir.path("loop.jpg"));
  const int plug = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, dir.path("socket.jpg").c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(plug, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const std::string text = list + "pipe.jpg\nfolder.jpg\nloop.jpg\nsocket.jpg\n";
  const std::string source = "data.train=list:" + dir.write("list", text);
  const std::string out = runs.scratch / "out";
  CHECK(mae(pretrain({source, "data.max_bad_fraction=0.5", "data.workers=2", "--out", out})).code == 0);
  close(plug);
  const std::string bad = slurp(out + "/bad_samples.jsonl");
  CHECK(std::count(bad.begin(), bad.end(), '\n') == 4);
  for (const char* says : {"pipe.jpg: not a file", "folder.jpg: not a file",
                           "loop.jpg: cannot be opened (Too many levels", "socket.jpg: cannot be opened"}) {
    CHECK_MESSAGE(has(bad, says), bad);
  }
  const Ran stopped = mae(pretrain({source, "--out", runs.scratch / "stopped"}));
  check_said(stopped, {{}, 3, {"4 of 12 samples could not be read, more than data.max_bad_fraction=0.01"}});

  const std::string torn = dir.write("torn", "pipe.jpg\nfolder.jpg\nloop.jpg\nabsent.png\n");
  check_said(mae(pretrain({"data.train=list:" + torn, "--out", runs.scratch / "torn"})),
             {{}, 3, {"replace the file or take it out of the data set", "stand-ins were tried"}});
}

}  // namespace tessera::test
