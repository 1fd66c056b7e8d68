// data/dataset and its sources: folders, flat folders, lists, IDX files, synthetic pictures; and what is
// refused.
#include "data/dataset.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cmath>
#include <filesystem>

#include "data/write_png.h"
#include "engine/safetensors.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

std::string png_of(uint64_t seed, int height = 5, int width = 6) {
  return encode_png(test_picture(height, width, 3, seed));
}

Picture load(const Dataset& data, int64_t i, int channels = 3) {
  Picture out;
  data.load(i, channels, whole_picture, out);
  return out;
}

std::string refusal(const std::string& source) {
  return complaint(ErrorKind::data, [&] { open_dataset(source); });
}

// The bytes of an IDX file with the given dimensions.
std::string idx(const std::vector<uint32_t>& dims, const std::string& data, uint32_t type = 0x08) {
  std::string file = {0, 0, static_cast<char>(type), static_cast<char>(dims.size())};
  for (const uint32_t d : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) file += static_cast<char>(d >> shift);
  }
  return file + data;
}

std::string gzipped(const std::string& bytes) {
  const TempDir dir;
  const std::string path = dir.path("x.gz");
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  gzclose(file);
  Bytes out;
  read_picture_file(path, out);
  return {reinterpret_cast<const char*>(out.data()), out.size()};
}

}  // namespace

TEST_CASE("data/dataset: a folder of classes, sorted, with links, hidden files and other files") {
  const TempDir dir;
  dir.write("set/zebra/b.png", png_of(1));
  dir.write("set/zebra/a.JPG", encode_jpeg(test_picture(8, 8, 3, 2)));
  dir.write("set/ant/deep/c.png", png_of(3));
  dir.write("set/ant/z.jpeg", png_of(4));  // the content counts
  dir.write("set/ant/notes.txt", "no picture");
  dir.write("set/ant/.hidden.png", png_of(5));
  dir.write("set/.cache/d.png", png_of(6));
  dir.write("set/readme.png", png_of(7));  // belongs to no class
  dir.write("elsewhere/e.png", png_of(8));
  std::filesystem::create_directory_symlink(dir.path("elsewhere"), dir.path("set/bee"));
  std::filesystem::create_symlink(dir.path("elsewhere/e.png"), dir.path("set/zebra/c.png"));
  std::filesystem::create_symlink(dir.path("nowhere"), dir.path("set/zebra/broken.png"));

  const auto data = open_dataset("folder:" + dir.path("set"));
  const std::vector<std::pair<std::string, int>> expected = {{"ant/z.jpeg", 0},  {"ant/deep/c.png", 0},
                                                             {"bee/e.png", 1},   {"zebra/a.JPG", 2},
                                                             {"zebra/b.png", 2}, {"zebra/c.png", 2}};
  REQUIRE(data->size() == 6);
  CHECK(data->classes() == 3);
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(data->describe(static_cast<int64_t>(i)) == dir.path("set/" + expected[i].first));
    CHECK(data->label(static_cast<int64_t>(i)) == expected[i].second);
  }
  CHECK(bytes_of(load(*data, 4)) == bytes_of(test_picture(5, 6, 3, 1)));
  CHECK(bytes_of(load(*data, 5)) == bytes_of(test_picture(5, 6, 3, 8)));
  Picture part;
  data->load(
      4, 3,
      [](int, int) {
        return Box{1, 2, 3, 4};
      },
      part);
  CHECK(bytes_of(part) == cut(test_picture(5, 6, 3, 1), {1, 2, 3, 4}));
  CHECK_THROWS_AS(data->label(6), Error);
}

TEST_CASE("data/dataset: a loop of links ends") {
  const TempDir dir;
  dir.write("set/a/b.png", png_of(1));
  std::filesystem::create_directory_symlink(dir.path("set/a"), dir.path("set/a/again"));
  CHECK(open_dataset("folder:" + dir.path("set"))->size() >= 1);
}

TEST_CASE("data/dataset: folders with nothing to read say so, and what to do") {
  const TempDir dir;
  const std::string absent = refusal("folder:" + dir.path("absent"));
  CHECK(contains(absent, dir.path("absent")));
  CHECK(contains(absent, "cannot be read"));
  std::filesystem::create_directory(dir.path("empty"));
  CHECK(contains(refusal("folder:" + dir.path("empty")), "no class folder"));
  CHECK(contains(refusal("flat:" + dir.path("empty")), "no picture"));
  dir.write("flat/a.png", png_of(1));
  CHECK(contains(refusal("folder:" + dir.path("flat")), "use flat:"));
  dir.write("classes/a/a.png", png_of(1));
  CHECK(contains(refusal("flat:" + dir.path("classes")), "use folder:"));
  std::filesystem::create_directory(dir.path("classes/b"));
  CHECK(contains(refusal("folder:" + dir.path("classes")), "class b has no picture"));
  CHECK(contains(refusal("flat:" + dir.path("classes/a/a.png")), "cannot be read"));
}

TEST_CASE("data/dataset: a flat folder has no labels") {
  const TempDir dir;
  dir.write("b.png", png_of(1));
  dir.write("a.png", png_of(2));
  const auto data = open_dataset("flat:" + dir.path());
  CHECK(data->size() == 2);
  CHECK(data->classes() == 0);
  CHECK(data->label(0) == -1);
  CHECK(data->describe(0) == dir.path("a.png"));
}

TEST_CASE("data/dataset: lists, with and without labels") {
  const TempDir dir;
  dir.write("sub/a b.png", png_of(1));
  dir.write("labels.txt", "sub/a b.png 3\r\n\nsub/a b.png\t0\n/abs/x.jpg 12\n");
  const auto labels = open_dataset("list:" + dir.path("labels.txt"));
  REQUIRE(labels->size() == 3);
  CHECK(labels->classes() == 13);
  CHECK(labels->label(0) == 3);
  CHECK(labels->label(1) == 0);
  CHECK(labels->describe(1) == dir.path("sub/a b.png"));
  CHECK(labels->describe(2) == "/abs/x.jpg");
  CHECK(bytes_of(load(*labels, 0)) == bytes_of(test_picture(5, 6, 3, 1)));
  CHECK(contains(complaint(ErrorKind::data, [&] { load(*labels, 2); }), "/abs/x.jpg"));

  dir.write("plain.txt", "sub/a b.png\nother one.jpg");
  const auto plain = open_dataset("list:" + dir.path("plain.txt"));
  CHECK(plain->size() == 2);
  CHECK(plain->label(0) == -1);
  CHECK(plain->describe(1) == dir.path("other one.jpg"));

  dir.write("mixed.txt", "a.png 3\nb.png\n");
  CHECK(contains(refusal("list:" + dir.path("mixed.txt")), "line 2: has not a label"));
  dir.write("empty.txt", "\n\n");
  CHECK(contains(refusal("list:" + dir.path("empty.txt")), "names no picture"));
  CHECK(contains(refusal("list:" + dir.path("absent.txt")), "cannot be opened"));
}

TEST_CASE("data/dataset: IDX files, plain and gzip, grey and colour") {
  const TempDir dir;
  std::string pixels;
  for (int i = 0; i < 2 * 3 * 4; ++i) pixels += static_cast<char>(i * 9);
  for (const bool gzip : {false, true}) {
    const auto file = [&](const std::string& bytes) { return gzip ? gzipped(bytes) : bytes; };
    const std::string images = dir.write("images", file(idx({2, 3, 4}, pixels)));
    const std::string labels = dir.write("labels", file(idx({2}, {7, 2})));
    const auto data = open_dataset("idx:" + images + "," + labels);
    REQUIRE(data->size() == 2);
    CHECK(data->classes() == 8);
    CHECK(data->label(1) == 2);
    const std::vector<uint8_t> second = bytes_of(load(*data, 1, 1));
    CHECK(std::string(second.begin(), second.end()) == pixels.substr(12));
    const Picture rgb = load(*data, 0, 3);
    for (size_t i = 0; i < rgb.size(); ++i) CHECK(rgb.data()[i] == static_cast<uint8_t>(pixels[i / 3]));
    Picture part;
    data->load(
        1, 1,
        [](int h, int w) {
          return Box{h - 1, 1, 1, w - 2};
        },
        part);
    CHECK(bytes_of(part) == std::vector<uint8_t>{21 * 9, 22 * 9});
    CHECK(open_dataset("idx:" + images)->label(0) == -1);
    CHECK(contains(complaint(ErrorKind::data, [&] { load(*data, 1, 4); }), "1 channels"));
  }
  const std::string colour = dir.write("colour", idx({1, 2, 4, 3}, pixels));
  const std::vector<uint8_t> rgb = bytes_of(load(*open_dataset("idx:" + colour), 0, 3));
  CHECK(std::string(rgb.begin(), rgb.end()) == pixels);
}

TEST_CASE("data/dataset: IDX files that are damaged, or do not belong together") {
  const TempDir dir;
  const std::string pixels(24, 'x');
  const auto images = [&](const std::string& bytes) { return refusal("idx:" + dir.write("images", bytes)); };
  CHECK(contains(refusal("idx:" + dir.path("absent")), "cannot be opened"));
  CHECK(contains(refusal("idx:" + dir.path()), "cannot be opened"));
  CHECK(contains(images(""), "ends before"));
  CHECK(contains(images("hello there"), "wanted 0x00000803"));
  CHECK(contains(images(idx({2, 3, 4}, pixels, 0x0d)), "wanted 0x00000803"));  // floats
  CHECK(contains(images(idx({24}, pixels)), "wanted 0x00000803"));  // labels in the place of images
  CHECK(contains(images(idx({0, 3, 4}, "")), "a dimension is 0"));
  CHECK(contains(images(idx({2, 3, 4}, pixels.substr(1))), "ends before"));
  CHECK(contains(images(idx({2, 3, 4}, pixels + "y")), "longer than its header says"));
  CHECK(contains(images(idx({0xffffffff, 0xffffffff, 0xffffffff}, pixels)), "overflow"));
  CHECK(contains(images(idx({1'000'000, 28, 28}, pixels)), "more than it can hold"));
  CHECK(contains(images(idx({1, 2, 4, 2}, pixels.substr(8))), "2 channels"));
  const std::string whole = gzipped(idx({2, 3, 4}, pixels));
  for (size_t n = 1; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK(contains(images(whole.substr(0, n)), dir.path("images")));
  }
  std::string wrong_sum = whole;
  wrong_sum[whole.size() - 6] = static_cast<char>(wrong_sum[whole.size() - 6] ^ 1);
  CHECK(contains(images(wrong_sum), "damaged"));
  const std::string good = dir.write("good", idx({2, 3, 4}, pixels)),
                    labels = dir.write("labels", idx({3}, {1, 2, 3}));
  CHECK(contains(refusal("idx:" + good + "," + labels), "2 pictures and 3 labels"));
}

TEST_CASE("data/dataset: synthetic pictures are the same each time and differ from each other") {
  const auto data = open_dataset("synthetic:1000,24x32x3"), again = open_dataset("synthetic:1000,24x32x3");
  CHECK(data->size() == 1000);
  CHECK(data->classes() == 10);
  CHECK(data->label(13) == 3);
  const Picture p = load(*data, 7);
  CHECK(p.height() == 24);
  CHECK(p.width() == 32);
  CHECK(bytes_of(p) == bytes_of(load(*again, 7)));
  CHECK(bytes_of(p) != bytes_of(load(*data, 17)));
  Picture part;
  data->load(
      7, 3,
      [](int, int) {
        return Box{3, 5, 10, 20};
      },
      part);
  CHECK(bytes_of(part) == cut(p, {3, 5, 10, 20}));
  double sum = 0, squares = 0;
  for (const uint8_t v : bytes_of(p)) sum += v, squares += static_cast<double>(v) * v;
  const double n = static_cast<double>(p.size()), mean = sum / n;
  CHECK(std::sqrt(squares / n - mean * mean) > 15);  // something to reconstruct
  CHECK(load(*open_dataset("synthetic:3,4x5x4"), 2, 4).channels() == 4);
}

TEST_CASE("data/dataset: a source of another form is an error of configuration that lists the forms") {
  for (const char* source :
       {"", "folder", "folder:", "/data/imagenet", "zip:a.zip", "synthetic:3", "synthetic:0,4x4x3",
        "synthetic:3,4x4x2", "synthetic:3,4x4x3x", "synthetic:3,4x-4x3", "synthetic:3,99999x4x3"}) {
    CAPTURE(source);
    CHECK(contains(complaint(ErrorKind::config, [&] { open_dataset(source); }), "synthetic:N,HxWxC"));
  }
}

TEST_CASE("data/write_png: what is written is read again, and a path that cannot be written is named") {
  const TempDir dir;
  for (const int channels : {1, 3, 4}) {
    const Picture p = test_picture(13, 9, channels, 4);
    write_png(dir.path("p.png"), p);
    Bytes file;
    read_picture_file(dir.path("p.png"), file);
    CHECK(bytes_of(decode({reinterpret_cast<const char*>(file.data()), file.size()}, channels)) ==
          bytes_of(p));
  }
  const Picture p = test_picture(2, 2, 3, 4);
  CHECK(
      contains(complaint(ErrorKind::io, [&] { write_png(dir.path("no/such/p.png"), p); }), "no/such/p.png"));
  if (std::filesystem::exists("/dev/full")) {
    CHECK(contains(complaint(ErrorKind::io, [&] { write_png("/dev/full", p); }), "No space left"));
  }
  CHECK_THROWS_AS(encode_png(Picture(2, 2, 2)), Error);
}

}  // namespace tessera::test
