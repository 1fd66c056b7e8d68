// Configuration: what is refused, in which words and at which line; what is read; what writing keeps.
#include "recipes/trainer/config.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "engine/check.h"
#include "engine/random.h"

namespace tessera {
namespace {

struct Optim {
  double blr = 1.5e-4;
  std::vector<double> betas = {0.9, 0.95};
  float weight_decay = 0.05f;
  int64_t warmup_epochs = 40;
  template <class V> void fields(V& v) {
    v("blr", blr, Range::above(0), "base learning rate, per 256 pictures");
    v("betas", betas, Range::half_open(0, 1), "decay of the moments");
    v("weight_decay", weight_decay, Range::at_least(0));
    v("warmup_epochs", warmup_epochs, Range::at_least(0));
  }
};

struct Crop {
  double low = 0.2;
  bool flip = true;
  template <class V> void fields(V& v) {
    v("low", low, Range{0, 1});
    v("flip", flip);
  }
};

struct Data {
  std::string train;
  std::vector<std::string> lists;
  Crop crop;
  template <class V> void fields(V& v) {
    v("train", train, "where the pictures are");
    v("lists", lists);
    v("crop", crop);
  }
};

struct Config {
  std::string model = "vit_b";
  double mask_ratio = 0.75;
  int epochs = 800;
  std::vector<int64_t> image_size = {224, 224};
  std::vector<bool> switches;
  Optim optim;
  Data data;
  int64_t seed = 0;
  template <class V> void fields(V& v) {
    v("model", model, OneOf{"vit_s", "vit_b", "vit_l"}, "size of the encoder");
    v("mask_ratio", mask_ratio, Range{0, 1}, "share of patches hidden");
    v("epochs", epochs, Range{1, 1e6});
    v("image_size", image_size, Range{1, 65500});
    v("switches", switches);
    v("optim", optim);
    v("data", data);
    v("seed", seed, Range::at_least(0));
  }
};

Config read(const std::string& yaml) {
  Config c;
  ConfigSources sources;
  read_config_text(fields_of(c), yaml, "b.yaml", sources);
  return c;
}

template <class F> std::string complaint(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::config);
    return e.what();
  }
  return "accepted";
}

struct Row {
  std::string text, says;
};

// Each file must be refused in exactly these words.
void check_files(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(complaint([&] { read(row.text); }) == "b.yaml:" + row.says);
  }
}

uint64_t bits(double x) { return std::bit_cast<uint64_t>(x); }

std::string random_text(const Philox& r, uint64_t& at) {
  std::string s;
  for (uint32_t n = r.below(at++, 12); n > 0; --n) s += static_cast<char>(1 + r.below(at++, 127));
  return s;
}

}  // namespace

TEST_CASE("recipes/config: unknown keys, with the nearest name") {
  check_files({
      {"\n\n\n\n\n\n\n\n\n\n\n\n\nmask_ration: 0.5",
       "14: unknown key \"mask_ration\"; did you mean \"mask_ratio\"?"},
      {"maskratio: 0.5", "1: unknown key \"maskratio\"; did you mean \"mask_ratio\"?"},
      {"optim:\n  blrr: 1", "2: unknown key \"optim.blrr\"; did you mean \"optim.blr\"?"},
      {"blr: 1", "1: unknown key \"blr\"; did you mean \"optim.blr\"?"},
      {"optim:\n  blr: 1\n  epochs: 3", "3: unknown key \"optim.epochs\"; did you mean \"epochs\"?"},
      {"optimizer:\n  blr: 1", "1: unknown key \"optimizer\""},
      {"optin:\n  blr: 1", "1: unknown key \"optin\"; did you mean \"optim\"?"},
      {"data:\n  crop:\n    flp: true", "3: unknown key \"data.crop.flp\"; did you mean \"data.crop.flip\"?"},
      {"data:\n  crop:\n    colour: 1", "3: unknown key \"data.crop.colour\""},
      {"zzzzzz: 1", "1: unknown key \"zzzzzz\""},
      {"Model: vit_b", "1: unknown key \"Model\"; did you mean \"model\"?"},
      {"3: 4", "1: unknown key \"3\""},
      {"{mask_ratio: 0.5,\n mask_ration: 1}", "2: unknown key \"mask_ration\"; did you mean \"mask_ratio\"?"},
      {"optim.blr: 1", "1: \"optim.blr\": in a file, a section is written as nested keys, not with a dot"},
      {"optim:\n  blr: 1\nopti: 3", "3: unknown key \"opti\"; did you mean \"optim\"?"},
  });
}

TEST_CASE("recipes/config: YAML that could mean two things") {
  check_files({
      {"epochs: 1\nepochs: 2", "2: duplicate key \"epochs\" (first on line 1)"},
      {"epochs: 1\n\"epochs\": 2", "2: duplicate key \"epochs\" (first on line 1)"},
      {"optim:\n  blr: 1\n  blr: 1", "3: duplicate key \"blr\" (first on line 2)"},
      {"optim: {blr: 1,\n blr: 2}", "2: duplicate key \"blr\" (first on line 1)"},
      {"optim:\n  blr: 1\noptim:\n  betas: [0, 0]", "3: duplicate key \"optim\" (first on line 1)"},
      {"epochs: &e 3", "1: anchors (&e) are not accepted"},
      {"epochs: 3\nseed: *e", "2: not YAML: the referenced anchor is not defined"},
      {"optim: &o\n  blr: 1\ndata: *o", "1: anchors (&o) are not accepted"},
      {"optim:\n  <<: {blr: 1}", "2: merge keys (<<) are not accepted"},
      {"epochs: !!int 3", "1: tags (tag:yaml.org,2002:int) are not accepted"},
      {"model: !secret vit_b", "1: tags (!secret) are not accepted"},
      {"image_size: !x [1, 2]", "1: tags (!x) are not accepted"},
      {"optim: !x {blr: 1}", "1: tags (!x) are not accepted"},
      {"epochs: 3\n---\nepochs: 4", "2: a second document begins; a configuration is one document"},
      {"? [a, b]\n: 3", "1: a key must be text"},
      {"? {a: b}\n: 3", "1: a key must be text"},
      {"~: 3", "1: a key must be text"},
      {"- epochs", "1: a configuration is a list of \"key: value\" lines"},
      {"epochs", "1: a configuration is a list of \"key: value\" lines"},
      {"epochs: 3\n\tseed: 4", "2: not YAML: illegal tab when looking for indentation"},
      {"epochs: [1, 2", "1: not YAML: end of sequence flow not found"},
      {"epochs: 3\nseed: \"abc", "2: not YAML: illegal EOF in scalar"},
      {"epochs: 3\nseed: 4\x01", "2: control character 0x01"},
      {std::string("epochs: 3\0", 10), "1: control character 0x00"},
      {"epochs: " + std::string(17, '[') + std::string(17, ']'), "1: nested deeper than 16"},
      {std::string(100000, '[') + std::string(100000, ']'), "1: nested deeper than 16"},
      {"epochs: " + std::string(100000, '{'), "1: a key must be text"},
      {std::string(300000, '#'), " 300000 bytes are too long for a configuration"},
  });
}

TEST_CASE("recipes/config: empty values and wrong kinds") {
  check_files({
      {"epochs:", "1: epochs: no value"},
      {"epochs: ~", "1: epochs: no value"},
      {"model: null", "1: model: no value"},
      {"model:\nepochs: 3", "1: model: no value"},
      {"optim:", "1: optim: no value"},
      {"optim: 3", "1: optim is a section; it needs nested keys such as optim.blr"},
      {"optim: [1]", "1: optim is a section; it needs nested keys such as optim.blr"},
      {"epochs: {a: 1}", "1: epochs is one value, not a section"},
      {"image_size: {a: 1}", "1: image_size is one value, not a section"},
      {"epochs: [3]", "1: epochs: a list where an integer is expected"},
      {"image_size: 224", "1: image_size: \"224\" is not a list; write [a, b]"},
      {"image_size: [[1], 2]", "1: image_size: each element must be an integer"},
      {"image_size:\n  - 1\n  -", "3: image_size: each element must be an integer"},
      {"data:\n  lists: [a, ~]", "2: data.lists: each element must be text"},
  });
}

TEST_CASE("recipes/config: wrong types") {
  const std::string zero = " has a leading zero (octal, or a slip); write it without";
  const std::string quote = " is not text; put it in quotes if it is meant as such";
  check_files({
      {"epochs: many", "1: epochs: \"many\" is not an integer"},
      {"epochs: 1.0", "1: epochs: \"1.0\" is not an integer"},
      {"epochs: 1e3", "1: epochs: \"1e3\" is not an integer"},
      {"epochs: 1_000", "1: epochs: \"1_000\" is not an integer"},
      {"epochs: 0x10", "1: epochs: \"0x10\" is not an integer"},
      {"epochs: +5", "1: epochs: \"+5\" is not an integer"},
      {"epochs: 5 6", "1: epochs: \"5 6\" is not an integer"},
      {"epochs: true", "1: epochs: \"true\" is not an integer"},
      {"epochs: \"3\"", "1: epochs: \"3\" is in quotes where an integer is expected"},
      {"epochs: \"\"", "1: epochs: \"\" is in quotes where an integer is expected"},
      {"epochs: |\n  3", "1: epochs: \"3\" is in quotes where an integer is expected"},
      {"epochs: 012", "1: epochs: \"012\"" + zero},
      {"epochs: -012", "1: epochs: \"-012\"" + zero},
      {"epochs: 0o12", "1: epochs: \"0o12\" is not an integer"},
      {"mask_ratio: 00.5", "1: mask_ratio: \"00.5\"" + zero},
      {"image_size: [224, 0224]", "1: image_size: \"0224\"" + zero},
      {"mask_ratio: 0,75", "1: mask_ratio: \"0,75\" is not a number"},
      {"mask_ratio: 75%", "1: mask_ratio: \"75%\" is not a number"},
      {"mask_ratio: 1/2", "1: mask_ratio: \"1/2\" is not a number"},
      {"mask_ratio: 1e", "1: mask_ratio: \"1e\" is not a number"},
      {"mask_ratio: 0x1p-1", "1: mask_ratio: \"0x1p-1\" is not a number"},
      {"mask_ratio: --1", "1: mask_ratio: \"--1\" is not a number"},
      {"mask_ratio: .", "1: mask_ratio: \".\" is not a number"},
      {"mask_ratio: .nan", "1: mask_ratio: \".nan\" is not a finite number"},
      {"mask_ratio: nan", "1: mask_ratio: \"nan\" is not a finite number"},
      {"optim:\n  blr: .inf", "2: optim.blr: \".inf\" is not a finite number"},
      {"optim:\n  blr: -inf", "2: optim.blr: \"-inf\" is not a finite number"},
      {"optim:\n  blr: infinity", "2: optim.blr: \"infinity\" is not a finite number"},
      {"optim:\n  blr: 1e999", "2: optim.blr: \"1e999\" does not fit its type"},
      {"optim:\n  weight_decay: 1e39", "2: optim.weight_decay: \"1e39\" does not fit its type"},
      {"epochs: 2147483648", "1: epochs: \"2147483648\" does not fit its type"},
      {"seed: 9223372036854775808", "1: seed: \"9223372036854775808\" does not fit its type"},
      {"data:\n  crop:\n    flip: yes", "3: data.crop.flip: \"yes\" is neither true nor false"},
      {"data:\n  crop:\n    flip: on", "3: data.crop.flip: \"on\" is neither true nor false"},
      {"data:\n  crop:\n    flip: True", "3: data.crop.flip: \"True\" is neither true nor false"},
      {"data:\n  crop:\n    flip: 1", "3: data.crop.flip: \"1\" is neither true nor false"},
      {"data:\n  crop:\n    flip: 'true'",
       "3: data.crop.flip: \"true\" is in quotes where true or false is expected"},
      {"switches: [true,\n 0]", "2: switches: \"0\" is neither true nor false"},
      {"data:\n  train: 2012", "2: data.train: \"2012\"" + quote},
      {"data:\n  train: true", "2: data.train: \"true\"" + quote},
      {"data:\n  lists: [a,\n   1e3]", "3: data.lists: \"1e3\"" + quote},
      {"data:\n  train: \"a\\0b\"", "2: data.train: text holds a zero byte"},
  });
}

TEST_CASE("recipes/config: values out of range") {
  const std::string share = " is out of range; it must be >= 0 and <= 1";
  check_files({
      {"mask_ratio: 1.5", "1: mask_ratio: \"1.5\"" + share},
      {"mask_ratio: 1.0000000000000002", "1: mask_ratio: \"1.0000000000000002\"" + share},
      {"mask_ratio: -1e-300", "1: mask_ratio: \"-1e-300\"" + share},
      {"epochs: 0", "1: epochs: \"0\" is out of range; it must be >= 1 and <= 1000000"},
      {"epochs: -3", "1: epochs: \"-3\" is out of range; it must be >= 1 and <= 1000000"},
      {"optim:\n  blr: 0", "2: optim.blr: \"0\" is out of range; it must be > 0"},
      {"optim:\n  betas: [0.9, 1]", "2: optim.betas: \"1\" is out of range; it must be >= 0 and < 1"},
      {"optim:\n  betas:\n    - 0.9\n    - 1.0",
       "4: optim.betas: \"1.0\" is out of range; it must be >= 0 and < 1"},
      {"optim:\n  weight_decay: -0.1", "2: optim.weight_decay: \"-0.1\" is out of range; it must be >= 0"},
      {"seed: -1", "1: seed: \"-1\" is out of range; it must be >= 0"},
      {"image_size: [224, 0]", "1: image_size: \"0\" is out of range; it must be >= 1 and <= 65500"},
      {"model: vit_x", "1: model: \"vit_x\" is not one of vit_s, vit_b, vit_l"},
      {"model: VIT_B", "1: model: \"VIT_B\" is not one of vit_s, vit_b, vit_l"},
      {"model: \"\"", "1: model: \"\" is not one of vit_s, vit_b, vit_l"},
  });
}

TEST_CASE("recipes/config: overrides are checked like a file") {
  const std::vector<Row> rows = {
      {"epochs", ": \"epochs\" is not key=value"},
      {"=3", ": \"=3\" is not key=value"},
      {"epochs=", ": epochs: no value after ="},
      {"epoch=3", ": unknown key \"epoch\"; did you mean \"epochs\"?"},
      {"optim.blrr=3", ": unknown key \"optim.blrr\"; did you mean \"optim.blr\"?"},
      {"blr=3", ": unknown key \"blr\"; did you mean \"optim.blr\"?"},
      {"optim=3", ": \"optim\" is a section; set one key, such as optim.blr=..."},
      {"data.crop=3", ": \"data.crop\" is a section; set one key, such as data.crop.low=..."},
      {"epochs=abc", ": epochs: \"abc\" is not an integer"},
      {"epochs=012", ": epochs: \"012\" has a leading zero (octal, or a slip); write it without"},
      {"epochs=\"3\"", ": epochs: \"\"3\"\" is not an integer"},
      {"epochs= 3", ": epochs: \" 3\" is not an integer"},
      {"epochs=3 ", ": epochs: \"3 \" is not an integer"},
      {"mask_ratio=2", ": mask_ratio: \"2\" is out of range; it must be >= 0 and <= 1"},
      {"mask_ratio=nan", ": mask_ratio: \"nan\" is not a finite number"},
      {"model=vit", ": model: \"vit\" is not one of vit_s, vit_b, vit_l"},
      {"data.crop.flip=yes", ": data.crop.flip: \"yes\" is neither true nor false"},
      {"optim.betas=0.9", ": optim.betas: \"0.9\" is not a list; write [a,b]"},
      {"optim.betas=[0.9,2]", ": optim.betas: \"2\" is out of range; it must be >= 0 and < 1"},
      {"optim.betas=[0.9", ": optim.betas: \"[0.9\" is not a list; write [a,b]"},
  };
  for (const Row& row : rows) {
    Config c;
    CHECK(complaint([&] { load_config(c, "", {row.text}); }) == "command line" + row.says);
  }
}

TEST_CASE("recipes/config: what is read") {
  const Config c = read(R"(# a comment
model: "vit_l"
mask_ratio: .5
epochs: 1600
image_size: [224,
             192]
switches: [true, false]
optim:
  blr: 1e-3
  betas:
    - 0.9
    - 0.999
  weight_decay: 0.1
data: {train: folder:/data/my pictures, lists: ["1", yes, 'a: b'], crop: {flip: false}}
seed: 9223372036854775807
)");
  CHECK(c.model == "vit_l");
  CHECK(c.mask_ratio == 0.5);
  CHECK(c.epochs == 1600);
  CHECK(c.image_size == std::vector<int64_t>{224, 192});
  CHECK(c.switches == std::vector<bool>{true, false});
  CHECK(c.optim.blr == 1e-3);
  CHECK(c.optim.betas == std::vector<double>{0.9, 0.999});
  CHECK(c.optim.weight_decay == 0.1f);
  CHECK(c.optim.warmup_epochs == 40);
  CHECK(c.data.train == "folder:/data/my pictures");
  CHECK(c.data.lists == std::vector<std::string>{"1", "yes", "a: b"});
  CHECK(c.data.crop.low == 0.2);
  CHECK(c.data.crop.flip == false);
  CHECK(c.seed == INT64_MAX);
  CHECK(read("").epochs == 800);
  CHECK(read("# nothing\n").epochs == 800);
  CHECK(read("image_size: []").image_size.empty());
}

TEST_CASE("recipes/config: file, then overrides in order; sources say where a value came from") {
  const auto folder = std::filesystem::temp_directory_path();
  const std::string path = (folder / fmt::format("tessera_{}.yaml", getpid())).string();
  std::ofstream(path) << "epochs: 10\noptim:\n  blr: 2\n";
  Config c;
  const ConfigSources s = load_config(c, path,
                                      {"epochs=20", "optim.betas=[0.5, 0.6]", "epochs=30",
                                       "data.train=list:/a b=c #1.txt", "data.lists=[\"x y\",z]"});
  std::filesystem::remove(path);
  CHECK(c.epochs == 30);
  CHECK(c.optim.blr == 2);
  CHECK(c.optim.betas == std::vector<double>{0.5, 0.6});
  CHECK(c.data.train == "list:/a b=c #1.txt");
  CHECK(c.data.lists == std::vector<std::string>{"x y", "z"});
  CHECK(s.at("epochs") == "command line");
  CHECK(s.at("optim.blr") == path + ":3");
  CHECK(s.at("seed") == "default");
  CHECK(complaint([&] { load_config(c, "/absent.yaml", {}); }) ==
        "cannot open /absent.yaml: No such file or directory");
}

TEST_CASE("recipes/config: values survive being written, bit for bit") {
  for (uint64_t trial = 0; trial < 300; ++trial) {
    const Philox r(7, Purpose::test, trial, 0);
    uint64_t at = 0;
    Config c;
    c.mask_ratio = static_cast<double>(r.uniform(at)) / 3;
    // Any positive normal number: exponents 1 to 2046 (double), 1 to 254 (float).
    c.optim.blr = std::bit_cast<double>(uint64_t{1 + r.below(at + 1, 2046)} << 52 | uint64_t{r.bits(at + 2)}
                                                                                        << 20);
    c.optim.weight_decay = std::bit_cast<float>((1 + r.below(at + 3, 254)) << 23 | r.bits(at + 4) >> 9);
    c.optim.betas = {std::nextafter(1.0, 0.0), 0.1 * static_cast<double>(r.uniform(at + 5))};
    c.seed = static_cast<int64_t>(uint64_t{r.bits(at + 6)} << 31 | r.bits(at + 7) >> 1);
    at += 8;
    c.data.train = random_text(r, at);
    c.data.lists = {random_text(r, at), "", "true", "12", "null", "\u00e9\u4e2d", "a\nb\t\"\\",
                    random_text(r, at)};
    c.switches = {true, false, true};
    const std::string yaml = to_yaml(c);
    CAPTURE(yaml);
    const Config d = read(yaml);
    CHECK(bits(d.mask_ratio) == bits(c.mask_ratio));
    CHECK(bits(d.optim.blr) == bits(c.optim.blr));
    CHECK(std::bit_cast<uint32_t>(d.optim.weight_decay) == std::bit_cast<uint32_t>(c.optim.weight_decay));
    CHECK(d.optim.betas == c.optim.betas);
    CHECK(d.seed == c.seed);
    CHECK(d.data.train == c.data.train);
    CHECK(d.data.lists == c.data.lists);
    CHECK(d.switches == c.switches);
    CHECK(to_yaml(d) == yaml);
  }
}

TEST_CASE("recipes/config: the written form, and the list of keys") {
  CHECK(to_yaml(Config{}) == R"(model: vit_b
mask_ratio: 0.75
epochs: 800
image_size: [224, 224]
switches: []
optim:
  blr: 0.00015
  betas: [0.9, 0.95]
  weight_decay: 0.05
  warmup_epochs: 40
data:
  train: ""
  lists: []
  crop:
    low: 0.2
    flip: true
seed: 0
)");
  Config c;
  const std::string help = describe_config(fields_of(c));
  CHECK(help.find("  model=vit_b  (vit_s|vit_b|vit_l)  size of the encoder\n") != std::string::npos);
  CHECK(help.find("  optim.blr=0.00015  (float > 0)  base learning rate, per 256 pictures\n") !=
        std::string::npos);
  CHECK(help.find("  image_size=[224, 224]  (list of int >= 1 and <= 65500)\n") != std::string::npos);
}

}  // namespace tessera
