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
  double peak = 0;  // GFLOP/s measured between this row's repeats
};

// The tighter of the two roofs is the relevant one: the op cannot be faster than that.
struct Share {
  bool compute = false;
  double value = 0;
};
Share share(const Row& r, const Roof& roof) {
  const double compute = r.peak > 0 ? r.flops / r.peak * 1e-9 : 0;
  const double memory = r.bytes / std::max(roof.read, roof.copy) * 1e-9;
  return {compute > memory, std::max(compute, memory) / r.seconds};
}

// One op call with everything that it needs at hand.
class Runner {
 public:
  Runner(const Bench& bench, DType t) : bench_(bench), t_(t) {
    for (size_t i = 0; i < bench.inputs.size(); ++i) inputs_.push_back(make_tensor(bench.inputs[i], t, i));
  }

  double forward_seconds(int threads) {
    const NoGrad off;
    Vars vars;
    for (const Tensor& x : inputs_) vars.emplace_back(x);
    const double start = now(threads);
    const Vars outs = bench_.call(vars, t_);
    return now(threads) - start;
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
        gradients_.push_back(make_tensor(test::fixed(outs[k].shape()), t_, 100 + k).to(outs[k].dtype()));
      }
    }
    const double start = now(threads);
    tape.backward(outs, gradients_);
    return now(threads) - start;
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

// Repeats for about `seconds`, the multiply loop in between: both see the same clock and neighbours.
Row measure(const OpCase& op, const Bench& bench, DType t, bool backward, const OpsOptions& options) {
  Row row{op.op, bench.name, backward ? "backward" : "forward", t};
  row.bytes = bytes_of(bench, t) * (backward ? 2 : 1);
  row.flops = bench.flops * (backward ? 2 : 1);
  Runner runner(bench, t);
  const auto once = [&] {
    return backward ? runner.backward_seconds(options.threads) : runner.forward_seconds(options.threads);
  };
  once();
  row.seconds = once();
  constexpr int kLeast = 5;
  const double end = now(0) + options.seconds;
  for (int i = 0; i < kLeast || now(0) < end; ++i) {
    row.peak = std::max(row.peak, multiply_peak(t == DType::bf16, options.threads, 1));
    row.seconds = std::min(row.seconds, once());
  }
  return row;
}

nlohmann::json to_json(const Row& r, const Roof& roof) {
  const Share s = share(r, roof);
  return {{"op", r.op},
          {"name", r.name},
          {"pass", r.pass},
          {"dtype", name(r.dtype)},
          {"ms", r.seconds * 1e3},
          {"bytes", r.bytes},
          {"flops", r.flops},
          {"peak_gflops", r.peak},
          {"share_of_roof", s.value},
          {"bound", s.compute ? "compute" : "memory"}};
}

void write_json(const std::string& path, const std::vector<Row>& rows, const Roof& roof, int threads) {
  nlohmann::json all = {{"cpu", cpu_name()}, {"commit", code_version()}, {"threads", threads}};
  all["roof"] = {
      {"f32_gflops", roof.f32}, {"bf16_gflops", roof.bf16}, {"read_gbs", roof.read}, {"copy_gbs", roof.copy}};
  all["rows"] = nlohmann::json::array();
  for (const Row& r : rows) all["rows"].push_back(to_json(r, roof));
  std::ofstream out(path);
  out << all.dump(1) << "\n";
  out.close();
  if (!out) fail(ErrorKind::io, "{}: cannot be written; is the folder there and the disk not full?", path);
}

void print(const Row& r, const Roof& roof) {
  const Share s = share(r, roof);
  const std::string gflops = r.flops > 0 ? fmt::format("{:.1f}", r.flops / r.seconds * 1e-9) : "-";
  fmt::print("{:<20}{:<34}{:<6}{:<9}{:>10.3f}{:>9.1f}{:>10}{:>7.0f}% of {}\n", r.op, r.name, name(r.dtype),
             r.pass, r.seconds * 1e3, r.bytes / r.seconds * 1e-9, gflops, 100 * s.value,
             s.compute ? "compute" : "memory");
  std::fflush(stdout);
}

}  // namespace

int run_ops(const OpsOptions& options) {
  set_threads(options.threads);
  const Roof roof = measure_roof(options.threads);
  fmt::print("{}, {} thread{}: f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s, read {:.1f} GB/s, copy {:.1f} GB/s\n",
             cpu_name(), options.threads, options.threads == 1 ? "" : "s", roof.f32, roof.bf16, roof.read,
             roof.copy);
  fmt::print("{:<20}{:<34}{:<6}{:<9}{:>10}{:>9}{:>10}{:>8}\n", "op", "size", "type", "pass", "ms", "GB/s",
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
          print(rows.back(), roof);
        }
      }
    }
  }
  if (rows.empty()) fail(ErrorKind::config, "bench ops: no op's name contains \"{}\"", options.filter);
  if (!options.json.empty()) write_json(options.json, rows, roof, options.threads);
  return 0;
}

}  // namespace tessera::bench
