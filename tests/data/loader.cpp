// data/loader: the same bits for any number of workers and from any starting point; what happens to broken
// samples.
#include "data/loader.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "data/write_png.h"
#include "tests/data/pictures.h"

namespace tessera::test {
namespace {

std::shared_ptr<const Dataset> open(const std::string& source) { return open_dataset(source); }

LoaderOptions small(int workers, TransformKind kind = TransformKind::train) {
  LoaderOptions o;
  o.sampler.batch = 5;
  o.sampler.seed = 21;
  o.transform.kind = kind;
  o.transform.height = 12;
  o.transform.width = 16;
  o.transform.shorter = 18;
  o.workers = workers;
  return o;
}

void check_equal(const Batch& a, const Batch& b) {
  CHECK(a.pixels.shape() == b.pixels.shape());
  CHECK(bytes_of(a.pixels) == bytes_of(b.pixels));
  CHECK(a.labels == b.labels);
  CHECK(a.indices == b.indices);
  CHECK(a.epoch == b.epoch);
  CHECK(a.first_position == b.first_position);
}

std::vector<Batch> take(Loader& loader, int n) {
  std::vector<Batch> batches;
  for (int i = 0; i < n; ++i) batches.push_back(loader.next());
  return batches;
}

// Pictures of which some are broken, or take their time.
class Mischief : public Dataset {
 public:
  explicit Mischief(std::set<int64_t> broken) : broken_(std::move(broken)) {}
  int64_t size() const override { return 60; }
  int classes() const override { return 60; }
  int32_t label(int64_t i) const override { return static_cast<int32_t>(i); }
  std::string describe(int64_t i) const override { return "pictures/" + std::to_string(i) + ".jpg"; }
  void load(int64_t i, int channels, const ChooseBox&, Picture& out) const override {
    std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 3)));
    if (broken_.count(i)) throw Error(ErrorKind::data, describe(i) + ": torn");
    while (i == stuck) {
      is_stuck = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (i == fatal) throw Error(ErrorKind::memory, "out of memory at 44");
    out.reset(4, 4, channels);
    std::fill_n(out.data(), out.size(), static_cast<uint8_t>(i));
  }
  int64_t fatal = -1;
  std::atomic<int64_t> stuck{-1};  // loading this one does not end
  mutable std::atomic<bool> is_stuck{false};

 private:
  std::set<int64_t> broken_;
};

LoaderOptions plain(int workers) {
  LoaderOptions o = small(workers, TransformKind::plain);
  o.transform.height = o.transform.width = 4;
  o.max_bad_fraction = 0.5;
  return o;
}

}  // namespace

TEST_CASE("data/loader: the same bits with 0, 1 and 3 workers, and when started anywhere") {
  const TempDir dir;
  for (int i = 0; i < 13; ++i) {
    JpegOptions jpeg;
    jpeg.progressive = i % 3 == 0;
    dir.write("set/" + std::string(1, static_cast<char>('a' + i % 2)) + "/" + std::to_string(i) + ".jpg",
              encode_jpeg(test_picture(20 + i, 31 - i, 3, static_cast<uint64_t>(i)), jpeg));
  }
  const auto data = open("folder:" + dir.path("set"));
  for (const TransformKind kind :
       {TransformKind::train, TransformKind::probe, TransformKind::eval, TransformKind::plain}) {
    Loader reference(data, small(0, kind));
    CHECK(reference.batches_per_epoch() == 2);
    const std::vector<Batch> expected = take(reference, 7);
    CHECK(expected[0].pixels.shape() == Shape{5, 12, 16, 3});
    CHECK(expected[3].epoch == 1);
    CHECK(expected[3].first_position == 5);
    for (const int workers : {1, 3}) {
      Loader loader(data, small(workers, kind));
      const std::vector<Batch> got = take(loader, 7);
      for (size_t i = 0; i < got.size(); ++i) check_equal(got[i], expected[i]);
      loader.start(1, 1);  // the middle of an epoch, while later batches are in the making
      check_equal(loader.next(), expected[3]);
      check_equal(loader.next(), expected[4]);
      loader.start(0);
      check_equal(loader.next(), expected[0]);
    }
    Loader resumed(data, small(2, kind));
    resumed.start(3, 0);
    check_equal(resumed.next(), expected[6]);
  }
}

TEST_CASE("data/loader: pixels do not depend on the batch size or the ranks") {
  const auto data = open("synthetic:24,20x20x3");
  std::map<int64_t, std::vector<uint8_t>> pictures[2];
  for (const int world : {1, 2}) {
    for (int rank = 0; rank < world; ++rank) {
      LoaderOptions o = small(1);
      o.sampler.batch = world == 1 ? 6 : 4;
      o.sampler.world = world;
      o.sampler.rank = rank;
      Loader loader(data, o);
      for (int64_t b = 0; b < loader.batches_per_epoch(); ++b) {
        const Batch batch = loader.next();
        for (int64_t i = 0; i < batch.size(); ++i) {
          pictures[world - 1][batch.indices[static_cast<size_t>(i)]] = bytes_of(batch.pixels.slice(i, i + 1));
        }
      }
    }
  }
  CHECK(pictures[0].size() == 24);
  CHECK(pictures[0] == pictures[1]);
}

TEST_CASE("data/loader: train crops and flips as augment.h says") {
  const auto data = open("synthetic:10,40x30x3");
  LoaderOptions o = small(0);
  o.sampler.shuffle = false;
  Loader loader(data, o);
  const Batch batch = loader.next();
  bool flipped[2] = {};
  for (int64_t i = 0; i < batch.size(); ++i) {
    Picture crop, resized;
    const uint64_t index = static_cast<uint64_t>(i);
    data->load(
        i, 3,
        [&](int h, int w) { return random_resized_crop(h, w, {}, Philox(21, Purpose::crop, 0, index)); },
        crop);
    resize(crop, {12, 16}, Filter::bicubic, resized);
    const bool flip = draw_flip(0.5, Philox(21, Purpose::flip, 0, index));
    flipped[flip] = true;
    const uint8_t* got = batch.pixels.data<uint8_t>() + i * 12 * 16 * 3;
    for (int y = 0; y < 12; ++y) {
      for (int x = 0; x < 16; ++x) {
        for (int c = 0; c < 3; ++c)
          REQUIRE(got[(y * 16 + x) * 3 + c] == resized.row(y)[(flip ? 15 - x : x) * 3 + c]);
      }
    }
  }
  CHECK(flipped[0]);
  CHECK(flipped[1]);
}

TEST_CASE("data/loader: evaluation takes every sample once, in order, and stops at the end") {
  LoaderOptions o = small(2, TransformKind::eval);
  o.sampler.shuffle = o.sampler.drop_last = o.endless = false;
  Loader loader(open("synthetic:12,20x30x1"), o);
  CHECK(loader.batches_per_epoch() == 3);
  std::vector<int64_t> seen;
  for (int64_t b = 0; b < 3; ++b) {
    const Batch batch = loader.next();
    seen.insert(seen.end(), batch.indices.begin(), batch.indices.end());
    CHECK(batch.labels[0] == batch.indices[0] % 10);
  }
  CHECK(seen == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(contains(complaint(ErrorKind::internal, [&] { loader.next(); }), "past the end of epoch 0"));
  loader.start(0, 2);
  CHECK(loader.next().size() == 2);
}

TEST_CASE(
    "data/loader: evaluation equals resizing the whole picture and cutting its centre; small ones are "
    "padded") {
  const auto data = open("synthetic:3,37x53x3");
  LoaderOptions o = small(0, TransformKind::eval);
  o.sampler.batch = 3;
  o.sampler.shuffle = false;
  o.transform.height = 20;
  o.transform.width = 11;
  Loader loader(data, o);
  const Batch batch = loader.next();
  Picture whole, resized;
  data->load(1, 3, whole_picture, whole);
  resize(whole, {18, 25}, Filter::bicubic, resized);  // trunc(18 * 53 / 37) = 25
  const std::vector<uint8_t> centre = cut(resized, {0, 7, 18, 11});
  std::vector<uint8_t> expected(20 * 11 * 3, 0);
  std::copy(centre.begin(), centre.end(), expected.begin() + 11 * 3);  // one row of zeros above, one below
  CHECK(bytes_of(batch.pixels.slice(1, 2)) == expected);
}

TEST_CASE("data/loader: plain pictures as they are, padded, or resized") {
  const auto data = open("synthetic:4,28x28x1");
  LoaderOptions o = small(0, TransformKind::plain);
  o.sampler.batch = 4;
  o.sampler.shuffle = false;
  o.transform.channels = 1;
  o.transform.height = o.transform.width = 28;
  Picture p;
  data->load(2, 1, whole_picture, p);
  CHECK(bytes_of(Loader(data, o).next().pixels.slice(2, 3)) == bytes_of(p));

  o.transform.height = 32;
  o.transform.width = 33;
  Picture resized;
  resize(p, {32, 33}, Filter::bicubic, resized);
  CHECK(bytes_of(Loader(data, o).next().pixels.slice(2, 3)) == bytes_of(resized));

  o.transform.pad = true;
  const std::vector<uint8_t> padded = bytes_of(Loader(data, o).next().pixels.slice(2, 3));
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 33; ++x) {
      const bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
      REQUIRE(padded[static_cast<size_t>(y * 33 + x)] == (inside ? p.row(y - 2)[x - 2] : 0));
    }
  }
  o.transform.width = 20;
  const std::string text = complaint(ErrorKind::data, [&] { Loader(data, o).next(); });
  CHECK(contains(text, "28 cannot be padded to 20"));
}

TEST_CASE("data/loader: broken samples are replaced, the same way each time, and listed once") {
  const auto data = std::make_shared<Mischief>(std::set<int64_t>{3, 17, 18, 40});
  std::vector<std::string> lines[3];
  std::vector<Batch> batches[3];
  for (const int workers : {0, 1, 3}) {
    LoaderOptions o = plain(workers);
    std::vector<std::string>& list = lines[workers == 3 ? 2 : workers];
    o.on_bad_sample = [&](const Substitute& s) { list.push_back(bad_sample_line(s)); };
    Loader loader(data, o);
    batches[workers == 3 ? 2 : workers] = take(loader, 24);  // two epochs
    CHECK(loader.bad_samples() == 8);
  }
  CHECK(lines[0].size() == 4);
  CHECK(lines[1] == lines[0]);
  CHECK(lines[2] == lines[0]);
  for (size_t i = 0; i < 24; ++i) {
    check_equal(batches[1][i], batches[0][i]);
    check_equal(batches[2][i], batches[0][i]);
  }
  std::set<int64_t> broken;
  for (const Batch& batch : batches[0]) {
    for (int64_t i = 0; i < batch.size(); ++i) {  // pixels, label and index belong to the same sample
      const int64_t index = batch.indices[static_cast<size_t>(i)];
      CHECK(batch.labels[static_cast<size_t>(i)] == index);
      CHECK(batch.pixels.data<uint8_t>()[i * 48] == index);
    }
    for (const Substitute& s : batch.substitutes) {
      CHECK(batch.indices[static_cast<size_t>(s.position - batch.first_position)] == s.replacement);
      CHECK(s.replacement != s.broken);
      CHECK(s.reason == s.path + ": torn");
      broken.insert(s.broken);
    }
  }
  CHECK(broken == std::set<int64_t>{3, 17, 18, 40});
  const nlohmann::json line = nlohmann::json::parse(lines[0][0]);
  CHECK(contains(line["path"].get<std::string>(), "pictures/"));
  CHECK(contains(line["reason"].get<std::string>(), "torn"));
  CHECK(line["substitute"] != line["index"]);
}

TEST_CASE("data/loader: too many broken samples stop the run, at the same batch whatever the workers") {
  const auto data = std::make_shared<Mischief>(std::set<int64_t>{1, 2, 3, 4, 5, 6, 7});
  for (const int workers : {0, 2}) {
    LoaderOptions o = plain(workers);
    o.max_bad_fraction = 0.1;
    Loader loader(data, o);
    int batches = 0;
    const std::string text = complaint(ErrorKind::data, [&] {
      for (; batches < 100; ++batches) loader.next();
    });
    CHECK(batches == 11);  // the twelfth completes the epoch of 60, the first at which it is judged
    CHECK(contains(text, "7 of 60 samples"));
    CHECK(contains(text, "max_bad_fraction=0.1"));
    CHECK(contains(complaint(ErrorKind::data, [&] { loader.next(); }), "7 of 60 samples"));
  }
  std::set<int64_t> all;
  for (int64_t i = 0; i < 60; ++i) all.insert(i);
  Loader hopeless(std::make_shared<Mischief>(all), plain(2));
  CHECK(contains(complaint(ErrorKind::data, [&] { hopeless.next(); }), "stand-ins were tried"));
}

TEST_CASE("data/loader: what goes wrong in a worker surfaces in next(), at its batch") {
  auto data = std::make_shared<Mischief>(std::set<int64_t>{});
  data->fatal = 44;
  for (const int workers : {0, 1, 3}) {
    LoaderOptions o = plain(workers);
    o.sampler.shuffle = false;
    o.prefetch = 4;
    Loader loader(data, o);
    take(loader, 8);  // samples 0 .. 39
    CHECK(complaint(ErrorKind::memory, [&] { loader.next(); }) == "out of memory at 44");
    CHECK(complaint(ErrorKind::memory, [&] { loader.next(); }) == "out of memory at 44");
    loader.start(0, 10);
    CHECK(loader.next().indices[0] == 50);
  }
}

TEST_CASE("data/loader: it can be dropped at any moment, and counts the time it keeps others waiting") {
  const auto data = std::make_shared<Mischief>(std::set<int64_t>{});
  for (int n = 0; n < 4; ++n) {
    Loader loader(data, plain(3));
    take(loader, n);
  }
  Loader slow(data, plain(0));
  CHECK(slow.wait_seconds() == 0);
  take(slow, 12);  // 60 samples of 100 us on average
  CHECK(slow.wait_seconds() > 0.004);
}

TEST_CASE("data/loader: a stall can be given up, and a stuck worker need not be waited for") {
  const auto data = std::make_shared<Mischief>(std::set<int64_t>{});
  Loader before(data, plain(0));
  data->stuck = take(before, 9).back().indices[2];
  LoaderOptions options = plain(2);
  options.give_up = [&] { return data->is_stuck.load(); };
  Loader loader(data, options);
  int delivered = 0;
  while (loader.next().size() > 0) ++delivered;
  CHECK(delivered == 8);
  CHECK(loader.next().size() == 0);
  CHECK_FALSE(loader.stop(std::chrono::milliseconds(20)));
  data->stuck = -1;
  CHECK(loader.stop(std::chrono::seconds(60)));
}

TEST_CASE("data/loader: options out of range are refused with their names") {
  const auto data = open("synthetic:12,20x30x3");
  const auto refusal = [&](auto change) {
    LoaderOptions o = small(1);
    change(o);
    return complaint(ErrorKind::config, [&] { Loader(data, o); });
  };
  CHECK(contains(refusal([](LoaderOptions& o) { o.workers = -1; }), "workers"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.prefetch = 0; }), "prefetch"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.max_bad_fraction = 2; }), "bad fraction"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.sampler.batch = 13; }), "smaller batch"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.transform.channels = 2; }), "channels"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.transform.flip = 1.5; }), "flip"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.transform.height = 0; }), "sides"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.transform.shorter = 0; }), "shorter"));
  CHECK(contains(refusal([](LoaderOptions& o) { o.transform.crop.scale_min = -1; }), "crop scale"));
  Loader loader(data, small(1));
  CHECK_THROWS_AS(loader.start(0, 2), Error);
}

// What the log calls data_wait: the share of the time that was spent in wait_seconds().
TEST_CASE("data/loader: waiting is all of the loading without workers, and next to none with enough") {
  using std::chrono::steady_clock, std::chrono::milliseconds;
  class Slow : public Mischief {
   public:
    Slow() : Mischief({}) {}
    void load(int64_t, int channels, const ChooseBox&, Picture& out) const override {
      std::this_thread::sleep_for(milliseconds(4));
      out.reset(4, 4, channels);
    }
  };
  const auto share = [](int workers) {
    Loader loader(std::make_shared<Slow>(), small(workers));
    loader.next();  // threads start
    const double before = loader.wait_seconds();
    const auto begin = steady_clock::now();
    for (int i = 0; i < 5; ++i) {
      std::this_thread::sleep_for(milliseconds(40));  // the step
      loader.next();
    }
    const double elapsed = std::chrono::duration<double>(steady_clock::now() - begin).count();
    const double waited = loader.wait_seconds() - before;
    CHECK(waited >= 0);
    CHECK(waited <= elapsed - 5 * 0.040);              // a step is no waiting
    if (workers == 0) CHECK(waited >= 5 * 5 * 0.004);  // five batches of five pictures
    return waited / elapsed;
  };
  const double without = share(0), with = share(4);
  CHECK(without > 2 * with);
}

}  // namespace tessera::test
