// Every op's bench rows against the roof: forward and backward, f32 and bf16, minimum of interleaved repeats.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "autograd/tape.h"
#include "bench/bench.h"
#include "engine/check.h"
#include "engine/parallel.h"
#include "engine/roof.h"
#include "recipes/trainer/version.h"
#include "tests/harness/op_case.h"

namespace tessera::bench {
namespace {

using test::Bench;
using test::OpCase;
using test::Vars;

struct Row {
  std::string op, name, pass;
  DType dtype = DType::f32;
  double seconds = 0, bytes = 0, flops = 0;
  // Measured between this row's repeats: GFLOP/s, and the memory at a working set of this row's size.
  double peak = 0;
  roof::MemoryRates memory;
};

// The tighter of the two roofs is the relevant one: the op cannot be faster than that.
struct Share {
  bool compute = false;
  double value = 0;
};
Share share(const Row& r) {
  const double compute = r.peak > 0 ? r.flops / r.peak * 1e-9 : 0;
  const double memory = r.bytes / r.memory.best() * 1e-9;
  return {compute > memory, std::max(compute, memory) / r.seconds};
}

// Numbers in [-1, 1) where a row does not ask for its own: the harness's normal numbers take seconds to make.
Tensor quick_tensor(test::In in, DType t, uint64_t seed) {
  if (!in.value) {
    in.value = [](int64_t i) { return static_cast<double>(i * 2654435761 >> 16 & 2047) / 1024.0 - 1.0; };
  }
  return make_tensor(in, t, seed);
}

// One op call with everything that it needs at hand.
class Runner {
 public:
  Runner(const Bench& bench, DType t) : bench_(bench), t_(t) {
    for (size_t i = 0; i < bench.inputs.size(); ++i) inputs_.push_back(quick_tensor(bench.inputs[i], t, i));
  }

  double forward_seconds(int threads) {
    const NoGrad off;
    Vars vars;
    for (const Tensor& x : inputs_) vars.emplace_back(x);
    const double start = roof::now(threads);
    const Vars outs = bench_.call(vars, t_);
    return roof::now(threads) - start;
  }

  double backward_seconds(int threads) {
    Tape tape;
    Vars vars;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      vars.push_back(bench_.inputs[i].differentiable ? tape.watch(inputs_[i]) : Var(inputs_[i]));
    }
    const Vars outs = bench_.call(vars, t_);
    if (gradients_.empty()) {
      for (size_t k = 0; k < outs.size(); ++k) {
        gradients_.push_back(quick_tensor(test::fixed(outs[k].shape()), t_, k).to(outs[k].dtype()));
      }
    }
    const double start = roof::now(threads);
    tape.backward(outs, gradients_);
    return roof::now(threads) - start;
  }

 private:
  const Bench& bench_;
  DType t_;
  std::vector<Tensor> inputs_, gradients_;
};

// Bytes of a bf16 row that states none: what follows the dtype is half as large.
double bytes_of(const Bench& bench, DType t) {
  if (t == DType::f32) return bench.bytes;
  if (bench.bytes_bf16 > 0) return bench.bytes_bf16;
  double all = 0, following = 0;
  for (const test::In& in : bench.inputs) {
    const double n = static_cast<double>(in.shape.numel() * size_of(in.dtype));
    all += n;
    following += in.follows ? n : 0;
  }
  return all > 0 ? bench.bytes * (1 - 0.5 * following / all) : bench.bytes;
}

// Repeats for about `seconds`, the roof's loops in between: both see the same clock and neighbours.
Row measure(const OpCase& op, const Bench& bench, DType t, bool backward, const OpsOptions& options) {
  Row row;
  row.op = op.op;
  row.name = bench.name;
  row.pass = backward ? "backward" : "forward";
  row.dtype = t;
  row.bytes = bytes_of(bench, t) * (backward ? 2 : 1);
  row.flops = bench.flops * (backward ? 2 : 1);
  Runner runner(bench, t);
  const auto once = [&] {
    return backward ? runner.backward_seconds(options.threads) : runner.forward_seconds(options.threads);
  };
  row.seconds = once();
  const int least = options.smoke ? 1 : 5;
  const double end = roof::now(0) + (options.smoke ? 0 : options.seconds);
  for (int i = 0; i < least || roof::now(0) < end; ++i) {
    row.peak = std::max(row.peak, roof::multiply_peak(t == DType::bf16, options.threads, 1));
    const roof::MemoryRates m = roof::memory_peak(row.bytes, options.threads, 1);
    row.memory = {std::max(row.memory.read, m.read), std::max(row.memory.copy, m.copy),
                  std::max(row.memory.update, m.update)};
    row.seconds = std::min(
        {row.seconds, once(), once()});  // the second run finds its data in the caches again
  }
  return row;
}

nlohmann::json to_json(const Row& r) {
  const Share s = share(r);
  return {{"op", r.op},
          {"name", r.name},
          {"pass", r.pass},
          {"dtype", name(r.dtype)},
          {"ms", r.seconds * 1e3},
          {"bytes", r.bytes},
          {"flops", r.flops},
          {"peak_gflops", r.peak},
          {"peak_gbs", r.memory.best()},
          {"share_of_roof", s.value},
          {"bound", s.compute ? "compute" : "memory"}};
}

void write_json(const std::string& path, const std::vector<Row>& rows, int threads) {
  nlohmann::json all = {{"cpu", cpu_name()}, {"commit", code_version()}, {"threads", threads}};
  all["rows"] = nlohmann::json::array();
  for (const Row& r : rows) all["rows"].push_back(to_json(r));
  std::ofstream out(path);
  out << all.dump(1) << "\n";
  out.close();
  if (!out) fail(ErrorKind::io, "{}: cannot be written; is the folder there and the disk not full?", path);
}

void print(const Row& r) {
  const Share s = share(r);
  // A pass that only hands a gradient on moves nothing, and no share of it means anything.
  const std::string part = s.value < 3 ? fmt::format("{:.0f}%", 100 * s.value) : "-";
  const std::string gflops = r.flops > 0 ? fmt::format("{:.1f}", r.flops / r.seconds * 1e-9) : "-";
  fmt::print("{:<20}{:<38}{:<6}{:<9}{:>10.3f}{:>9.1f}{:>10}{:>8} of {}\n", r.op, r.name, name(r.dtype),
             r.pass, r.seconds * 1e3, r.bytes / r.seconds * 1e-9, gflops, part,
             s.compute ? "compute" : "memory");
  std::fflush(stdout);
}

}  // namespace

int run_ops(const OpsOptions& options) {
  set_threads(options.threads);
  fmt::print("{}, {} thread{}\n", cpu_name(), options.threads, options.threads == 1 ? "" : "s");
  fmt::print("{:<20}{:<38}{:<6}{:<9}{:>10}{:>9}{:>10}{:>8}\n", "op", "size", "type", "pass", "ms", "GB/s",
             "GFLOP/s", "roof");
  std::vector<Row> rows;
  for (const OpCase* op : test::op_cases()) {
    if (op->op.find(options.filter) == std::string::npos) continue;
    for (const Bench& bench : op->benches) {
      for (DType t : {DType::f32, DType::bf16}) {
        if (t == DType::bf16 && !bench.bf16) continue;
        for (bool backward : {false, true}) {
          if (backward && !bench.backward) continue;
          rows.push_back(measure(*op, bench, t, backward, options));
          print(rows.back());
        }
      }
    }
  }
  if (rows.empty()) fail(ErrorKind::config, "no op's name contains \"{}\"", options.filter);
  if (!options.json.empty()) write_json(options.json, rows, options.threads);
  return 0;
}

}  // namespace tessera::bench
