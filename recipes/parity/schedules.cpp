// Parity of the learning-rate schedules (fixture lr_schedules): a schedule is known by its keys, not by its
// name.
#include <cstdlib>
#include <functional>

#include "recipes/trainer/parity.h"
#include "recipes/trainer/schedule.h"

namespace tessera {
namespace {

constexpr double kRelative = 1e-6;  // of each rate

// The rates of iterations 0 .. n - 1 against out.<key>.
void compare(ParityFile& file, const std::string& key, int64_t n,
             const std::function<double(int64_t)>& rate) {
  const Tensor got({n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) got.data<double>()[i] = rate(i);
  file.within("out." + key, got, 0, 0, kRelative);
}

// MAE's and SlowFast's: a function of epoch + iteration / iterations per epoch; .scaleX is a group's own
// rate.
void by_epoch(ParityFile& file, const std::string& name, const Schedule& s, int64_t per_epoch) {
  const auto n = static_cast<int64_t>(s.epochs * static_cast<double>(per_epoch));
  const auto rate = [&](int64_t i) {
    return s.at(static_cast<double>(i / per_epoch) +
                static_cast<double>(i % per_epoch) / static_cast<double>(per_epoch));
  };
  if (file.has("out." + name)) compare(file, name, n, rate);
  for (const std::string& variant : file.names("out." + name + ".scale")) {
    char* rest = nullptr;
    const double scale = std::strtod(variant.c_str(), &rest);
    if (*rest == '\0')
      compare(file, name + ".scale" + variant, n, [&](int64_t i) { return scale * rate(i); });
  }
}

void mae(ParityFile& file, const std::string& name, const Options& o) {
  const Schedule s{o.number("lr"), o.number("min_lr"), o.number("warmup_epochs"), o.number("epochs")};
  o.require("rule", "per iteration, epoch+i/n");
  by_epoch(file, name, s, o.integer("iters_per_epoch"));
}

void slowfast(ParityFile& file, const std::string& name, const Options& o) {
  Schedule s{o.number("BASE_LR"), o.number("COSINE_END_LR"), o.number("WARMUP_EPOCHS"),
             o.number("MAX_EPOCH")};
  s.warmup_lr = o.number("WARMUP_START_LR");
  s.cosine_from_start = !o.flag("COSINE_AFTER_WARMUP");
  by_epoch(file, name, s, o.integer("iters_per_epoch"));
}

void simmim(ParityFile& file, const std::string& name, const Options& o) {
  const int64_t per_epoch = o.integer("iters_per_epoch");
  UpdateSchedule s{o.number("BASE_LR"), o.number("MIN_LR"), o.number("WARMUP_LR")};
  s.warmup_updates = o.integer("WARMUP_EPOCHS") * per_epoch;
  s.updates = o.integer("EPOCHS") * per_epoch;
  if (o.has("MULTI")) {
    for (double epoch : o.numbers("MULTI")) s.milestones.push_back(static_cast<int64_t>(epoch) * per_epoch);
  }
  o.ignore({"rule"});  // says in words what `used` and `after` are
  compare(file, name + ".lr_used", s.updates, [&](int64_t i) { return s.used(i); });
  compare(file, name + ".lr_after_update", s.updates, [&](int64_t i) { return s.after(i); });
}

void run(ParityFile& file) {
  const Options schedules = file.config().object("schedules");
  for (const std::string& name : schedules.keys()) {
    const Options o = schedules.object(name);
    if (o.has("BASE_LR") && o.has("MAX_EPOCH")) {
      slowfast(file, name, o);
    } else if (o.has("BASE_LR")) {
      simmim(file, name, o);
    } else {
      mae(file, name, o);
    }
    o.require_all_read("schedules." + name + ".");
  }
}

const RegisterParity registered({"lr_schedules",
                                 [](const Options& o) { return o.text("case") == "lr_schedules"; }, run});

}  // namespace
}  // namespace tessera
