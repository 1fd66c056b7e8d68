#include "recipes/trainer/parity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace tessera {
namespace {

std::vector<double> values(const Tensor& t) {
  const Tensor wide = t.to(DType::f64);
  return {wide.data<double>(), wide.data<double>() + wide.numel()};
}

double largest(const std::vector<double>& v) {
  double m = 0;
  for (double x : v) m = std::max(m, std::fabs(x));
  return m;
}

// NaN in `got` must fail, so comparisons are written to keep it.
double largest_difference(const std::vector<double>& got, const std::vector<double>& want) {
  double m = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = std::fabs(got[i] - want[i]);
    if (!(d <= m)) m = d;
  }
  return m;
}

double cosine(const std::vector<double>& a, const std::vector<double>& b, size_t skip_begin,
              size_t skip_end) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (i >= skip_begin && i < skip_end) continue;
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa == 0 && bb == 0 ? 1 : ab / std::sqrt(aa * bb);
}

std::string config_of(const SafeTensors& content) {
  const auto it = content.metadata.find("config");
  if (it == content.metadata.end())
    fail(ErrorKind::checkpoint, "parity: the file has no __metadata__.config");
  return it->second;
}

}  // namespace

ParityFile::ParityFile(SafeTensors content, Precision precision)
    : content_(std::move(content)), config_(config_of(content_)), precision_(precision) {}

Tensor ParityFile::read(const std::string& key) {
  read_.insert(key);
  return content_.at(key);
}

std::vector<std::string> ParityFile::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const auto& [key, tensor] : content_.tensors) {
    if (key.starts_with(prefix)) found.push_back(key.substr(prefix.size()));
  }
  return found;
}

double ParityFile::tolerance(const std::string& key) {
  const std::string name = "tol." + key;
  return has(name) ? largest(values(read(name))) : 0;
}

bool ParityFile::right_shape(const std::string& key, const Tensor& want, const Tensor& got) {
  if (want.numel() == got.numel()) return true;
  rows_.push_back({key, NAN, 0, fmt::format("shape {}, wanted {}", got.shape().str(), want.shape().str())});
  return false;
}

void ParityFile::tensor(const std::string& key, const Tensor& got) {
  if (precision_.compute == DType::bf16) return not_compared(key, "f32 only");
  const double tol = tolerance(key);
  within(key, got, 10 * tol, 1e-6);
}

void ParityFile::within(const std::string& key, const Tensor& got, double absolute, double relative_to_max,
                        double per_element) {
  const Tensor want = read(key);
  tolerance(key);
  if (!right_shape(key, want, got)) return;
  const std::vector<double> w = values(want), g = values(got);
  if (per_element == 0) {
    rows_.push_back({key, largest_difference(g, w), absolute + relative_to_max * largest(w), ""});
    return;
  }
  const double common = absolute + relative_to_max * largest(w);
  ParityRow worst{key, 0, common, ""};
  double worst_share = -1;  // each element has its own limit: report the one that uses most of it
  for (size_t i = 0; i < w.size(); ++i) {
    const double limit = common + per_element * std::fabs(w[i]), d = std::fabs(g[i] - w[i]);
    const double share = d == 0 ? 0 : std::isnan(d) ? INFINITY : d / limit;
    if (share > worst_share) {
      worst = {key, d, limit, ""};
      worst_share = share;
    }
  }
  rows_.push_back(worst);
}

void ParityFile::exact(const std::string& key, const Tensor& got) {
  const Tensor want = read(key);
  tolerance(key);
  if (!right_shape(key, want, got)) return;
  const std::vector<double> w = values(want), g = values(got);
  double different = 0;
  for (size_t i = 0; i < w.size(); ++i) different += g[i] != w[i];
  rows_.push_back({key, different, 0, "elements that differ"});
}

void ParityFile::losses(const std::string& key, const std::vector<double>& got, double relative) {
  if (precision_.compute == DType::bf16) return not_compared(key, "f32 only");
  const std::vector<double> want = values(read(key));
  const std::string tol_key = "tol." + key;
  const std::vector<double> tol = has(tol_key) ? values(read(tol_key))
                                               : std::vector<double>(want.size(), 0.0);
  for (size_t i = 0; i < want.size(); ++i) {
    const double g = i < got.size() ? got[i] : NAN;
    const double limit = 50 * tol[std::min(i, tol.size() - 1)] + relative * std::fabs(want[i]);
    rows_.push_back({fmt::format("{}[{}]", key, i), std::fabs(g - want[i]), limit, ""});
  }
}

void ParityFile::final_value(const std::string& key, const Tensor& got, double share) {
  if (precision_.compute == DType::bf16) return not_compared(key, "f32 only");
  const Tensor want = read(key);
  if (!right_shape(key, want, got)) return;
  const std::vector<double> w = values(want), g = values(got);
  const double limit = 50 * tolerance(key) + 1e-4 * largest(w);
  std::vector<double> d(w.size());
  for (size_t i = 0; i < w.size(); ++i) d[i] = std::isnan(g[i]) ? INFINITY : std::fabs(g[i] - w[i]);
  // The error that `share` of the elements stay within.
  const size_t at = std::min(d.size() - 1,
                             static_cast<size_t>(std::ceil(share * static_cast<double>(d.size()))) - 1);
  std::nth_element(d.begin(), d.begin() + static_cast<std::ptrdiff_t>(at), d.end());
  rows_.push_back({key, d[at], limit, fmt::format("{:.0f} % of the elements", 100 * share)});
}

double ParityFile::largest_gradient() {
  if (largest_gradient_ < 0) {
    for (const std::string& name : names("grad.")) {
      largest_gradient_ = std::max(largest_gradient_, largest(values(content_.at("grad." + name))));
    }
  }
  return largest_gradient_;
}

void ParityFile::gradient(const std::string& name, const Tensor& got, int64_t zero_begin, int64_t zero_end) {
  const std::string key = "grad." + name;
  const Tensor want = read(key);
  const double tol = tolerance(key);
  if (!right_shape(key, want, got)) return;
  std::vector<double> w = values(want), g = values(got);
  const auto zb = static_cast<size_t>(zero_begin), ze = static_cast<size_t>(zero_end);
  if (precision_.compute == DType::bf16) {
    rows_.push_back({key, 1 - cosine(g, w, zb, ze), 1e-3, "1 - cosine"});
    return;
  }
  if (zb < ze) {
    const std::vector<double> gz(g.begin() + zero_begin, g.begin() + zero_end);
    rows_.push_back(
        {key + " (zero part)", largest(gz), 1e-6 * largest_gradient(), "zero in exact arithmetic"});
    if (std::any_of(gz.begin(), gz.end(), [](double x) { return std::isnan(x); })) rows_.back().error = NAN;
    for (size_t i = zb; i < ze; ++i) g[i] = w[i] = 0;
  }
  rows_.push_back({key, largest_difference(g, w), 10 * tol + 1e-6 * largest(w), ""});
}

void ParityFile::loss(const std::string& key, double got) {
  const double want = read(key).item(), tol = tolerance(key);
  const bool half = precision_.compute == DType::bf16;
  rows_.push_back(
      {key, std::fabs(got - want), half ? 1e-2 * std::fabs(want) : 10 * tol + 1e-6 * std::fabs(want), ""});
}

void ParityFile::not_compared(const std::string& key, const std::string& why) {
  read(key);
  tolerance(key);
  rows_.push_back({key, 0, 0, "not compared: " + why});
}

std::vector<std::string> ParityFile::unread() const {
  std::vector<std::string> left;
  for (const auto& [key, tensor] : content_.tensors) {
    if (!read_.contains(key)) left.push_back(key);
  }
  return left;
}

void load_parameters(ParamStore& store, ParityFile& file) {
  for (const Param& p : store.params()) store.assign(p, file.read("param." + p.name));
  for (const std::string& name : file.names("param.")) {
    if (store.find(name) == nullptr)
      fail(ErrorKind::checkpoint, "parity: the model has no parameter {}", name);
  }
  store.changed();
}

void compare_gradients(ParamStore& store, ParityFile& file) {
  for (const Param& p : store.params()) {
    if (!p.trained) continue;
    const bool fused = p.name.ends_with("qkv.bias");
    const int64_t third = p.shape.numel() / 3;
    file.gradient(p.name, p.grad, fused ? third : 0, fused ? 2 * third : 0);
  }
}

std::vector<ParityCase>& parity_cases() {
  static std::vector<ParityCase> cases;
  return cases;
}

ParityFile run_parity(const std::string& path, Precision precision) {
  ParityFile file(load_safetensors(path), precision);
  const Options& config = file.config();
  for (const ParityCase& c : parity_cases()) {
    if (!c.serves(config)) continue;
    c.run(file);
    // Where a file came from says nothing about what it asks for.
    config.ignore({"case", "repo", "file", "cls", "lib", "timm", "torch", "torchvision", "pil", "seed",
                   "dtype", "threads", "note", "what", "tolerance", "no_grad_params", "zero_grad_params",
                   "small_residual_stream"});
    config.require_all_read();
    return file;
  }
  throw UnknownOption(fmt::format("parity: no case serves \"{}\"{}",
                                  config.has("case") ? config.text("case") : "?",
                                  config.has("cls") ? " of class " + config.text("cls") : ""));
}

int report_parity(const ParityFile& file, bool verbose) {
  int failed = 0, compared = 0;
  for (const ParityRow& r : file.rows()) {
    const bool skipped = r.note.starts_with("not compared");
    compared += !skipped;
    failed += !r.ok();
    if (!verbose && r.ok()) continue;
    fmt::print("{:6} {:<48} error {:<10.3g} limit {:<10.3g} {}\n",
               !r.ok()   ? "FAIL"
               : skipped ? "skip"
                         : "ok",
               r.key, r.error, r.limit, r.note);
  }
  const std::vector<std::string> unread = file.unread();
  for (const std::string& key : unread) fmt::print("FAIL   {} was left unread\n", key);
  fmt::print("{} compared, {} failed, {} unread\n", compared, failed, unread.size());
  return failed == 0 && unread.empty() ? 0 : 1;
}

}  // namespace tessera
