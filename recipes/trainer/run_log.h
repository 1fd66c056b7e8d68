// The run's JSON lines: log.jsonl, one line per logged step, and bad_samples.jsonl, one line per broken
// sample. A disk that refuses does not stop the run: one warning; its lines are written with a later one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "recipes/trainer/disk.h"

namespace tessera {

using NamedValues = std::vector<std::pair<std::string, double>>;

class RunLog {
 public:
  // Opens RUN/log.jsonl and RUN/bad_samples.jsonl. Of log.jsonl, lines up to `resumed_step` are kept and the
  // rest dropped: the log of a resumed run equals that of an unbroken one. A run that starts afresh says 0.
  RunLog(const std::string& run, int64_t resumed_step, Disk& disk = real_disk());

  ~RunLog();  // lines still waiting are tried once more
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // {"step":7,"loss":0.9,...,"time":{"img/s":310,...}}: `time` takes what depends on the clock and the
  // machine. Values print shortest and exactly; NaN and infinities as strings.
  void step(int64_t step, const NamedValues& values, const NamedValues& time = {});
  // Lines written so far reach the disk: before a checkpoint that lets a resumed run pass over their steps.
  void sync();
  // {"step":7,"skipped":true,...}: a step whose update was skipped; `why` is the rest of its members.
  void skipped(int64_t step, const std::string& why);
  // Writes `line` (data/loader.h's bad_sample_line, with its key "index") once per `index` in a run, also
  // over resumes.
  void bad_sample(int64_t index, const std::string& line);

 private:
  struct LineFile {
    std::function<std::unique_ptr<Disk::File>(Disk&)> open;
    std::unique_ptr<Disk::File> file;  // null until the disk lets it be opened
    std::string waiting;               // lines not yet written
    void write(Disk& disk, const std::string& line);
  };
  Disk& disk_;
  LineFile steps_, bad_;
  std::set<int64_t> listed_;
};

}  // namespace tessera
