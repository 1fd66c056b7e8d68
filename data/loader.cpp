#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "engine/check.h"
#include "engine/fault.h"
#include "engine/parallel.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kJudgeAfter = 1000;  // samples before max_bad_fraction is held against them
constexpr uint64_t kStandInTries = 16;
constexpr auto kPoll = std::chrono::milliseconds(50);  // of give_up, while workers are waited for

// A batch in the making. Workers own disjoint samples of `batch`; all else is under the loader's mutex.
struct Job {
  Batch batch;
  int64_t claimed = 0, done = 0;  // samples handed to workers; samples made
  std::exception_ptr error;       // of the failed sample that stands first
  int64_t error_at = -1;
  bool ready() const { return done == batch.size(); }
};

}  // namespace

class Loader::Impl {
 public:
  Impl(std::shared_ptr<const Dataset> data, const LoaderOptions& options)
      : data_(std::move(data)), options_(options), sampler_(sized(options.sampler, *data_)) {
    check_transform_options(options_.transform);
    if (options_.workers < 0 || options_.workers > 1024) {
      fail(ErrorKind::config, "loader: {} workers; wanted 0 to 1024", options_.workers);
    }
    if (options_.prefetch < 1 || options_.prefetch > 1024) {
      fail(ErrorKind::config, "loader: {} batches of prefetch; wanted 1 to 1024", options_.prefetch);
    }
    if (!(options_.max_bad_fraction >= 0 && options_.max_bad_fraction <= 1)) {
      fail(ErrorKind::config, "loader: a bad fraction of {}; wanted 0 to 1", options_.max_bad_fraction);
    }
  }

  ~Impl() {
    tell_to_end();
    for (std::thread& thread : threads_) thread.join();
  }

  const Sampler& sampler() const { return sampler_; }
  double wait_seconds() const { return wait_seconds_; }
  int64_t bad_samples() const { return bad_; }

  void start(int64_t epoch, int64_t batch) {
    TS_CHECK(epoch >= 0 && batch >= 0 && batch < sampler_.batches_per_epoch(),
             "loader: start at epoch {}, batch {} of {}", epoch, batch, sampler_.batches_per_epoch());
    const std::lock_guard lock(mutex_);
    jobs_.clear();  // a worker inside one finishes its sample and drops it
    failed_ = nullptr;
    epoch_ = epoch;
    batch_ = batch;
  }

  Batch next() {
    if (failed_) std::rethrow_exception(failed_);
    try {
      const Clock::time_point begin = Clock::now();
      const std::shared_ptr<Job> job = options_.workers == 0 ? make_inline() : wait_for_job();
      wait_seconds_ += std::chrono::duration<double>(Clock::now() - begin).count();
      if (!job) return {};
      if (job->error) std::rethrow_exception(job->error);
      account(job->batch);
      return std::move(job->batch);
    } catch (...) {
      failed_ = std::current_exception();
      throw;
    }
  }

  bool stop(std::chrono::milliseconds patience) {
    tell_to_end();
    std::unique_lock lock(mutex_);
    return ready_.wait_for(lock, patience, [&] { return ended_ == threads_.size(); });
  }

 private:
  void tell_to_end() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
  }

  static SamplerOptions sized(SamplerOptions options, const Dataset& data) {
    options.size = data.size();
    return options;
  }

  bool at_end() const { return batch_ == sampler_.batches_per_epoch(); }

  // A job for the batch at the cursor, which moves on. At the end of an epoch: the next one's first, or an
  // error.
  std::shared_ptr<Job> new_job() {
    if (at_end()) {
      TS_CHECK(options_.endless, "loader: next() past the end of epoch {}; call start() for another", epoch_);
      ++epoch_;
      batch_ = 0;
    }
    const TransformOptions& t = options_.transform;
    const int64_t count = sampler_.count(batch_);
    auto job = std::make_shared<Job>();
    job->batch.pixels = Tensor({count, t.height, t.width, t.channels}, DType::u8, Device::cpu(), "batches");
    job->batch.labels.resize(static_cast<size_t>(count));
    job->batch.indices.resize(static_cast<size_t>(count));
    job->batch.epoch = epoch_;
    job->batch.first_position = sampler_.first_position(batch_);
    ++batch_;
    return job;
  }

  std::shared_ptr<Job> make_inline() {
    std::shared_ptr<Job> job = new_job();
    for (int64_t b = 0; b < job->batch.size(); ++b) make_sample(*job, b);
    return job;
  }

  // Null when options.give_up said so.
  std::shared_ptr<Job> wait_for_job() {
    std::unique_lock lock(mutex_);
    if (jobs_.empty()) jobs_.push_back(new_job());
    prefetch();
    if (threads_.empty()) {
      for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
    }
    const std::shared_ptr<Job> job = jobs_.front();
    while (!ready_.wait_for(lock, kPoll, [&] { return job->ready(); })) {
      if (options_.give_up && options_.give_up()) return nullptr;
    }
    jobs_.pop_front();
    prefetch();
    return job;
  }

  void prefetch() {
    while (static_cast<int>(jobs_.size()) < options_.prefetch && (options_.endless || !at_end())) {
      jobs_.push_back(new_job());
    }
    work_.notify_all();
  }

  // A worker: claims a few samples of the earliest batch that has any left, makes them, and so on.
  void work() {
    unpin_thread();
    std::unique_lock lock(mutex_);
    for (;;) {
      std::shared_ptr<Job> job;
      work_.wait(lock, [&] { return stop_ || (job = claimable()) != nullptr; });
      if (stop_) {
        ++ended_;
        ready_.notify_all();
        return;
      }
      const int64_t count = job->batch.size();
      // Small enough to spread a batch over the workers, large enough that tiny pictures do not queue for the
      // mutex.
      const int64_t grain = std::clamp<int64_t>(count / (4 * options_.workers), 1, 32);
      const int64_t begin = job->claimed, end = std::min(begin + grain, count);
      job->claimed = end;
      lock.unlock();
      for (int64_t b = begin; b < end; ++b) make_sample(*job, b);
      lock.lock();
      job->done += end - begin;
      if (job->ready()) ready_.notify_all();
    }
  }

  std::shared_ptr<Job> claimable() const {
    for (const std::shared_ptr<Job>& job : jobs_) {
      if (job->claimed < job->batch.size()) return job;
    }
    return nullptr;
  }

  // Never throws: what goes wrong is kept in the job.
  void make_sample(Job& job, int64_t b) {
    try {
      fill_sample(job, b);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (job.error_at < 0 || b < job.error_at) {
        job.error = std::current_exception();
        job.error_at = b;
      }
    }
  }

  void fill_sample(Job& job, int64_t b) {
    const int64_t position = job.batch.first_position + b, epoch = job.batch.epoch;
    int64_t index = sampler_.index(epoch, position);
    const TransformOptions& t = options_.transform;
    uint8_t* to = job.batch.pixels.data<uint8_t>() + b * t.height * t.width * t.channels;
    std::string reason;
    const int64_t number = epoch * sampler_.options().size + position + 1;
    const bool broken = fault::at("loader.sample", number) == fault::Action::fail;
    if (!try_sample(index, epoch, to, reason, broken)) {
      Substitute s = {epoch, position, index, stand_in(index, epoch, to, reason), data_->describe(index),
                      reason};
      index = s.replacement;
      const std::lock_guard lock(mutex_);
      job.batch.substitutes.push_back(std::move(s));
    }
    job.batch.indices[static_cast<size_t>(b)] = index;
    job.batch.labels[static_cast<size_t>(b)] = data_->label(index);
  }

  // False when the sample is broken, with the reason. Other errors are not the sample's and pass.
  bool try_sample(int64_t index, int64_t epoch, uint8_t* to, std::string& reason, bool broken = false) {
    try {
      if (broken) fail(ErrorKind::data, "{}: broken on purpose (TESSERA_FAULTS)", data_->describe(index));
      transform(*data_, index, options_.transform, sampler_.options().seed, epoch, to);
      return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      reason = error.what();
      return false;
    }
  }

  int64_t stand_in(int64_t broken, int64_t epoch, uint8_t* to, const std::string& reason) {
    const Philox random(sampler_.options().seed, Purpose::substitute, static_cast<uint64_t>(epoch),
                        static_cast<uint64_t>(broken));
    const uint32_t n = static_cast<uint32_t>(std::min<int64_t>(data_->size(), UINT32_MAX));
    std::string ignored;
    for (uint64_t attempt = 0; attempt < kStandInTries; ++attempt) {
      const int64_t candidate = random.below(attempt, n);
      if (candidate != broken && try_sample(candidate, epoch, to, ignored)) return candidate;
    }
    fail(ErrorKind::data, "{}; {} stand-ins were tried and none can be used either", reason, kStandInTries);
  }

  // What was broken is reported and judged in the order of batches, so a run stops at the same step whatever
  // the workers do.
  void account(Batch& batch) {
    std::sort(batch.substitutes.begin(), batch.substitutes.end(),
              [](const Substitute& a, const Substitute& b) { return a.position < b.position; });
    for (const Substitute& s : batch.substitutes) {
      if (reported_.insert(s.broken).second && options_.on_bad_sample) options_.on_bad_sample(s);
    }
    bad_ += static_cast<int64_t>(batch.substitutes.size());
    delivered_ += batch.size();
    const double fraction = static_cast<double>(bad_) / static_cast<double>(std::max<int64_t>(delivered_, 1));
    if (fraction > options_.max_bad_fraction && delivered_ >= std::min(kJudgeAfter, epoch_samples())) {
      const std::string last = batch.substitutes.empty() ? ""
                                                         : " (last: " + batch.substitutes.back().reason + ")";
      fail(ErrorKind::data,
           "{} of {} samples could not be read, more than data.max_bad_fraction={}{}; mend the data set, or "
           "raise the limit",
           bad_, delivered_, options_.max_bad_fraction, last);
    }
  }

  // Samples of this rank in an epoch, at least.
  int64_t epoch_samples() const {
    const int64_t last = sampler_.batches_per_epoch() - 1;
    return last * sampler_.options().batch + sampler_.count(last);
  }

  const std::shared_ptr<const Dataset> data_;
  const LoaderOptions options_;
  const Sampler sampler_;

  std::mutex mutex_;                       // of the cursor, and of the jobs but for their samples
  std::condition_variable work_, ready_;   // work to claim; a batch made, or a worker gone
  std::deque<std::shared_ptr<Job>> jobs_;  // made or in the making, in order
  int64_t epoch_ = 0, batch_ = 0;          // the next job's
  bool stop_ = false;
  size_t ended_ = 0;  // workers gone after stop_
  std::vector<std::thread> threads_;

  // Only next() and start() use these, so only the calling thread.
  std::exception_ptr failed_;
  std::set<int64_t> reported_;
  int64_t bad_ = 0, delivered_ = 0;
  double wait_seconds_ = 0;
};

Loader::Loader(std::shared_ptr<const Dataset> data, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(data), options)) {}
Loader::~Loader() = default;
int64_t Loader::batches_per_epoch() const { return impl_->sampler().batches_per_epoch(); }
void Loader::start(int64_t epoch, int64_t batch) { impl_->start(epoch, batch); }
Batch Loader::next() { return impl_->next(); }
bool Loader::stop(std::chrono::milliseconds patience) { return impl_->stop(patience); }
double Loader::wait_seconds() const { return impl_->wait_seconds(); }
int64_t Loader::bad_samples() const { return impl_->bad_samples(); }

std::string bad_sample_line(const Substitute& s) {
  nlohmann::ordered_json line;
  line["epoch"] = s.epoch;
  line["position"] = s.position;
  line["index"] = s.broken;
  line["path"] = s.path;
  line["reason"] = s.reason;
  line["substitute"] = s.replacement;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // paths need not be UTF-8
}

}  // namespace tessera
