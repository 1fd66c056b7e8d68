// A table of wrong configurations of MAE pre-training, as users write them: which key, which line, which
// words; and every preset's resolved form, which must read back to itself.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <filesystem>

#include "recipes/linear_probe/command.h"
#include "recipes/mae/commands.h"
#include "recipes/mae/pretrain.h"
#include "tests/recipes/program.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;

template <class F> std::string words_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::config);
    return e.what();
  }
  return "accepted";
}

std::string of_file(const std::string& text) {
  return words_of([&] {
    MaeSettings s;
    ConfigSources sources;
    read_config_text(fields_of(s), text, "p.yaml", sources);
  });
}

std::string of_argument(const std::string& text) {
  return words_of([&] {
    MaeSettings s;
    load_config(s, "", {text});
  });
}

// A value that key refuses, and how; asked in a file at its line and on the command line.
struct Value {
  const char *section, *key, *value, *says;
};

const Value kValues[] = {
    {"model", "patch", "0", "is out of range; it must be >= 1 and <= 65500"},
    {"model", "patch", "-16", "is out of range; it must be >= 1 and <= 65500"},
    {"model", "patch", "16.0", "is not an integer"},
    {"model", "patch", "16x16", "is not an integer"},
    {"model", "patch", "sixteen", "is not an integer"},
    {"model", "patch", "016", "has a leading zero (octal, or a slip); write it without"},
    {"model", "patch", "0x10", "is not an integer"},
    {"model", "patch", "1_6", "is not an integer"},
    {"model", "patch", "true", "is not an integer"},
    {"model", "patch", ".inf", "is not a finite number"},
    {"model", "dim", "3", "is out of range; it must be >= 4 and <= 131072"},
    {"model", "dim", "1e3", "is not an integer"},
    {"model", "dim", "1000000000", "is out of range; it must be >= 4 and <= 131072"},
    {"model", "dim", "9223372036854775808", "does not fit its type"},
    {"model", "dim", "--8", "is not an integer"},
    {"model", "dim", "+8", "is not an integer"},
    {"model", "depth", "0", "is out of range; it must be >= 1 and <= 1000"},
    {"model", "depth", "1000000000000", "is out of range; it must be >= 1 and <= 1000"},
    {"model", "depth", "12.5", "is not an integer"},
    {"model", "heads", "0", "is out of range; it must be >= 1 and <= 131072"},
    {"model", "heads", "2147483648", "does not fit its type"},
    {"model", "heads", "nan", "is not a finite number"},
    {"model", "mlp_ratio", "0", "is out of range; it must be > 0 and <= 64"},
    {"model", "mlp_ratio", "1e400", "does not fit its type"},
    {"model", "mlp_ratio", "4,0", "is not a number"},
    {"model", "mlp_ratio", "4x", "is not a number"},
    {"model", "mlp_ratio", "-inf", "is not a finite number"},
    {"model", "mask_ratio", "1", "is out of range; it must be > 0 and < 1"},
    {"model", "mask_ratio", "0", "is out of range; it must be > 0 and < 1"},
    {"model", "mask_ratio", "75", "is out of range; it must be > 0 and < 1"},
    {"model", "mask_ratio", "75%", "is not a number"},
    {"model", "mask_ratio", "-0.75", "is out of range; it must be > 0 and < 1"},
    {"model", "mask_ratio", ".nan", "is not a finite number"},
    {"model", "mask_ratio", "high", "is not a number"},
    {"model", "decoder_dim", "2", "is out of range; it must be >= 4 and <= 131072"},
    {"model", "decoder_depth", "0", "is out of range; it must be >= 1 and <= 1000"},
    {"model", "decoder_heads", "-1", "is out of range; it must be >= 1 and <= 131072"},
    {"model", "normalize_target", "yes", "is neither true nor false"},
    {"model", "normalize_target", "1", "is neither true nor false"},
    {"model", "normalize_target", "True", "is neither true nor false"},
    {"model", "normalize_target", "on", "is neither true nor false"},
    {"data", "height", "0", "is out of range; it must be >= 1 and <= 65500"},
    {"data", "height", "65501", "is out of range; it must be >= 1 and <= 65500"},
    {"data", "width", "224px", "is not an integer"},
    {"data", "channels", "0", "is out of range; it must be >= 1 and <= 4"},
    {"data", "channels", "5", "is out of range; it must be >= 1 and <= 4"},
    {"data", "mean", "0.5", "is not a list; write [a, b]"},
    {"data", "transform", "croop", "is not one of crop, plain, pad"},
    {"data", "transform", "Crop", "is not one of crop, plain, pad"},
    {"data", "min_scale", "0", "is out of range; it must be > 0 and <= 1"},
    {"data", "min_scale", "1.01", "is out of range; it must be > 0 and <= 1"},
    {"data", "flip", "-0.1", "is out of range; it must be >= 0 and <= 1"},
    {"data", "flip", "false", "is not a number"},
    {"data", "workers", "-1", "is out of range; it must be >= 0 and <= 256"},
    {"data", "workers", "1000", "is out of range; it must be >= 0 and <= 256"},
    {"data", "workers", "auto", "is not an integer"},
    {"data", "prefetch", "0", "is out of range; it must be >= 1 and <= 64"},
    {"data", "max_bad_fraction", "2", "is out of range; it must be >= 0 and <= 1"},
    {"optim", "blr", "-1e-4", "is out of range; it must be >= 0"},
    {"optim", "blr", "1.5e-", "is not a number"},
    {"optim", "blr", "1,5e-4", "is not a number"},
    {"optim", "min_lr", "-1", "is out of range; it must be >= 0"},
    {"optim", "warmup_epochs", "-1", "is out of range; it must be >= 0"},
    {"optim", "weight_decay", "-0.05", "is out of range; it must be >= 0"},
    {"optim", "beta1", "1", "is out of range; it must be >= 0 and < 1"},
    {"optim", "beta2", "1.0", "is out of range; it must be >= 0 and < 1"},
    {"optim", "beta2", "-0.1", "is out of range; it must be >= 0 and < 1"},
    {"optim", "eps", "0", "is out of range; it must be > 0"},
    {"optim", "clip_norm", "-1", "is out of range; it must be >= 0"},
    {"optim", "clip_norm", "none", "is not a number"},
    {"train", "epochs", "0", "is out of range; it must be >= 1 and <= 1000000"},
    {"train", "epochs", "800.5", "is not an integer"},
    {"train", "batch", "0", "is out of range; it must be >= 1 and <= 1000000"},
    {"train", "batch", "1000000000000", "is out of range; it must be >= 1 and <= 1000000"},
    {"train", "accumulate", "0", "is out of range; it must be >= 1 and <= 1000000"},
    {"train", "max_steps", "-1", "is out of range; it must be >= 0"},
    {"train", "seed", "-1", "is out of range; it must be >= 0"},
    {"train", "seed", "18446744073709551615", "does not fit its type"},
    {"train", "precision", "fp16", "is not one of f32, bf16"},
    {"train", "precision", "BF16", "is not one of f32, bf16"},
    {"train", "recompute", "TRUE", "is neither true nor false"},
    {"train", "threads", "-2", "is out of range; it must be >= 0 and <= 1024"},
    {"train", "log_every", "0", "is out of range; it must be >= 1"},
    {"train", "save_every", "-5", "is out of range; it must be >= 0"},
    {"train", "picture_every", "never", "is not an integer"},
    {"train", "keep", "1", "is out of range; it must be >= 2 and <= 1000"},
    {"train", "max_skips", "-1", "is out of range; it must be >= 0"},
};

struct Row {
  const char *text, *says;
};

// Names: the nearest one is offered.
const Row kFiles[] = {
    {"modle:\n  dim: 64", "p.yaml:1: unknown key \"modle\"; did you mean \"model\"?"},
    {"\n# a comment\n\nmodel:\n  dmi: 64",
     "p.yaml:5: unknown key \"model.dmi\"; did you mean \"model.dim\"?"},
    {"model:\n  patch_size: 16", "p.yaml:2: unknown key \"model.patch_size\""},
    {"model:\n  mask_ration: 0.5",
     "p.yaml:2: unknown key \"model.mask_ration\"; did you mean \"model.mask_ratio\"?"},
    {"model:\n  depht: 3", "p.yaml:2: unknown key \"model.depht\"; did you mean \"model.depth\"?"},
    {"model:\n  head: 3", "p.yaml:2: unknown key \"model.head\"; did you mean \"model.heads\"?"},
    {"model:\n  decoder_dept: 3",
     "p.yaml:2: unknown key \"model.decoder_dept\"; did you mean \"model.decoder_depth\"?"},
    {"model:\n  normalise_target: true",
     "p.yaml:2: unknown key \"model.normalise_target\"; did you mean \"model.normalize_target\"?"},
    {"dim: 64", "p.yaml:1: unknown key \"dim\"; did you mean \"model.dim\"?"},
    {"batch: 64", "p.yaml:1: unknown key \"batch\"; did you mean \"train.batch\"?"},
    {"optim:\n  lr: 1", "p.yaml:2: unknown key \"optim.lr\"; did you mean \"optim.blr\"?"},
    {"optim:\n  beta_1: 0.9", "p.yaml:2: unknown key \"optim.beta_1\"; did you mean \"optim.beta1\"?"},
    {"optim:\n  weight-decay: 0.05",
     "p.yaml:2: unknown key \"optim.weight-decay\"; did you mean \"optim.weight_decay\"?"},
    {"optim:\n  blr: 1\n  warmup: 3", "p.yaml:3: unknown key \"optim.warmup\""},
    {"train:\n  epoch: 3", "p.yaml:2: unknown key \"train.epoch\"; did you mean \"train.epochs\"?"},
    {"train:\n  acumulate: 3",
     "p.yaml:2: unknown key \"train.acumulate\"; did you mean \"train.accumulate\"?"},
    {"train:\n  blr: 3", "p.yaml:2: unknown key \"train.blr\"; did you mean \"optim.blr\"?"},
    {"train:\n  Seed: 3", "p.yaml:2: unknown key \"train.Seed\"; did you mean \"train.seed\"?"},
    {"data:\n  hieght: 3", "p.yaml:2: unknown key \"data.hieght\"; did you mean \"data.height\"?"},
    {"data:\n  worker: 3", "p.yaml:2: unknown key \"data.worker\"; did you mean \"data.workers\"?"},
    {"data:\n  path: x", "p.yaml:2: unknown key \"data.path\""},
    {"zzzzzzzz: 1", "p.yaml:1: unknown key \"zzzzzzzz\""},
    // Twice.
    {"model:\n  dim: 8\n  dim: 16", "p.yaml:3: duplicate key \"dim\" (first on line 2)"},
    {"model:\n  dim: 8\ndata:\n  width: 4\nmodel:\n  depth: 2",
     "p.yaml:5: duplicate key \"model\" (first on line 1)"},
    {"train: {batch: 8,\n  seed: 1,\n  batch: 8}", "p.yaml:3: duplicate key \"batch\" (first on line 1)"},
    // Kinds.
    {"model: vit_b", "p.yaml:1: model is a section; it needs nested keys such as model.name"},
    {"model:", "p.yaml:1: model: no value"},
    {"model:\n  dim:", "p.yaml:2: model.dim: no value"},
    {"model:\n  dim: ~", "p.yaml:2: model.dim: no value"},
    {"model:\n  dim: [64]", "p.yaml:2: model.dim: a list where an integer is expected"},
    {"model:\n  dim: {a: 64}", "p.yaml:2: model.dim is one value, not a section"},
    {"model:\n  dim: \"64\"", "p.yaml:2: model.dim: \"64\" is in quotes where an integer is expected"},
    {"model:\n  name: 12",
     "p.yaml:2: model.name: \"12\" is not text; put it in quotes if it is meant as such"},
    {"model:\n  name: true",
     "p.yaml:2: model.name: \"true\" is not text; put it in quotes if it is meant as such"},
    {"data:\n  mean: [0.5, high]", "p.yaml:2: data.mean: \"high\" is not a number"},
    {"data:\n  mean:\n    - 0.5\n    - 1.5",
     "p.yaml:4: data.mean: \"1.5\" is out of range; it must be >= 0 and <= 1"},
    {"data:\n  std: [0]", "p.yaml:2: data.std: \"0\" is out of range; it must be > 0"},
    {"data:\n  std: [[1]]", "p.yaml:2: data.std: each element must be a number"},
    {"model.dim: 64",
     "p.yaml:1: \"model.dim\": in a file, a section is written as nested keys, not with a dot"},
    {"- model", "p.yaml:1: a configuration is a list of \"key: value\" lines"},
    // Quotes and bytes.
    {"model:\n  name: \"abc\n", "p.yaml:3: not YAML: illegal EOF in scalar"},
    {"model:\n  name: 'abc\n  ", "p.yaml:4: not YAML: illegal EOF in scalar"},
    {"model:\n  name: \"\xff\"", "p.yaml:2: byte 0xff is not UTF-8"},
    {"model:\n  dim: 8\n  name: \xc3(", "p.yaml:3: byte 0xc3 is not UTF-8"},
    {"model:\n  name: \xed\xa0\x80", "p.yaml:2: byte 0xed is not UTF-8"},
    {"model:\n  name: \xc0\x80", "p.yaml:2: byte 0xc0 is not UTF-8"},
    // Overrides in a file's clothes, and a file on the command line.
    {"model.dim=64", "p.yaml:1: a configuration is a list of \"key: value\" lines"},
};

const Row kArguments[] = {
    {"dim=64", "command line: unknown key \"dim\"; did you mean \"model.dim\"?"},
    {"model.dmi=64", "command line: unknown key \"model.dmi\"; did you mean \"model.dim\"?"},
    {"optim.lr=64", "command line: unknown key \"optim.lr\"; did you mean \"optim.blr\"?"},
    {"model=vit_b", "command line: \"model\" is a section; set one key, such as model.name=..."},
    {"model.dim=", "command line: model.dim: no value after ="},
    {"data.train=folder:/\xff",
     "command line: data.train: text is not UTF-8, and could not be read back from the run's file"},
    {"=64", "command line: \"=64\" is not key=value"},
    {"model.dim", "command line: \"model.dim\" is not key=value"},
    {"model.dim.x=64", "command line: unknown key \"model.dim.x\""},
    {"data.mean=0.5,0.5", "command line: data.mean: \"0.5,0.5\" is not a list; write [a,b]"},
    {"data.mean=[0.5", "command line: data.mean: \"[0.5\" is not a list; write [a,b]"},
    {"data.mean=[2]", "command line: data.mean: \"2\" is out of range; it must be >= 0 and <= 1"},
    {"data.mean=[!!int 3]", "command line:1: tags (tag:yaml.org,2002:int) are not accepted"},
};

}  // namespace

TEST_CASE("recipes/config_table: values that are refused, in a file and on the command line") {
  static_assert(2 * std::size(kValues) + std::size(kFiles) + std::size(kArguments) >= 150);
  for (const Value& v : kValues) {
    const std::string key = std::string(v.section) + "." + v.key;
    const std::string says = fmt::format("{}: \"{}\" {}", key, v.value, v.says);
    CHECK(of_file(fmt::format("# by hand\n{}:\n\n  {}: {}\n", v.section, v.key, v.value)) ==
          "p.yaml:4: " + says);
    const std::string argument = of_argument(key + "=" + v.value);
    // Of a list, the command line shows how it is written there.
    CHECK((argument == "command line: " + says ||
           argument == "command line: " + key + ": \"" + v.value + "\" is not a list; write [a,b]"));
  }
}

TEST_CASE("recipes/config_table: names, kinds and places") {
  for (const Row& r : kFiles) CHECK(of_file(r.text) == r.says);
  for (const Row& r : kArguments) CHECK(of_argument(r.text) == r.says);
}

// What is written beside a run gives the same run.
TEST_CASE("recipes/config_table: every preset resolves to a file that resolves to itself") {
  const Scratch scratch;
  int seen = 0;
  for (const auto& [program, list] : {std::pair{std::string("mae"), mae_commands()},
                                      {std::string("linear_probe"), linear_probe_commands()}}) {
    for (const auto& entry : fs::directory_iterator(TESSERA_SOURCE_DIR "/recipes/" + program)) {
      if (entry.path().extension() != ".yaml") continue;
      CAPTURE(entry.path());
      ++seen;
      const auto resolve = [&, &name = program, &commands = list](const std::string& path) {
        std::vector<std::string> arguments = {path, "--print-config"};
        if (name == "mae") arguments.insert(arguments.begin(), "pretrain");
        return run_program(arguments, commands, name);
      };
      const Ran first = resolve(entry.path().string());
      CHECK_MESSAGE(first.code == 0, first.err);
      CHECK(first.out.size() > 200);
      spill(scratch / "resolved.yaml", first.out);
      const Ran second = resolve(scratch / "resolved.yaml");
      CHECK_MESSAGE(second.code == 0, second.err);
      CHECK(second.out == first.out);
    }
  }
  CHECK(seen >= 6);
}

}  // namespace tessera::test
