// Replays a skipped step under audit and says what it saw.
#include "recipes/trainer/guard.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/audit.h"
#include "autograd/tape.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostSamples = 8;  // named in a message

std::string number_text(double x) {
  return std::isnan(x) ? "nan" : std::isinf(x) ? (x > 0 ? "inf" : "-inf") : fmt::format("{}", x);
}
Json number_json(double x) { return std::isfinite(x) ? Json(x) : Json(number_text(x)); }

// Members of `line`, as text.
std::string members(const Json& line) {
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

const Param* broken_parameter(const ParamStore& store) {
  for (const Param& p : store.params()) {
    if (audit::first_non_finite(p.master) >= 0) return &p;
  }
  return nullptr;
}

// Indices of the samples that a finding points at; all of the batch when it does not tell them apart.
std::vector<int64_t> samples_of(const audit::Finding& f, const Batch& batch) {
  if (f.rows.empty() || f.shape.rank() < 1 || f.shape[0] != batch.size()) return batch.indices;
  std::vector<int64_t> samples;
  for (int64_t row : f.rows) samples.push_back(batch.indices[static_cast<size_t>(row)]);
  return samples;
}

void name_finding(const audit::Finding& f, int64_t micro, const Batch& batch, const Dataset& data, Json& line,
                  std::string& text) {
  const char* pass = f.backward ? "backward" : "forward";
  const std::vector<int64_t> samples = samples_of(f, batch);
  line["op"] = f.op;
  line["pass"] = pass;
  line["value"] = f.value;
  line["layer"] = f.layer;
  line["micro"] = micro;
  line["samples"] = samples;
  text += fmt::format("; first not finite: {} {}{}, whose {} {} has {}, in micro-batch {}, sample{}", f.op,
                      pass, f.layer.empty() ? "" : " at " + f.layer, f.value, f.shape.str(),
                      number_text(f.number), micro, samples.size() == 1 ? "" : "s");
  for (size_t i = 0; i < samples.size() && i < kMostSamples; ++i)
    text += fmt::format("{} {} ({})", i ? "," : "", samples[i], data.describe(samples[i]));
  if (samples.size() > kMostSamples) text += fmt::format(" and {} more", samples.size() - kMostSamples);
}

// The micro-batches one after another, until one shows something.
bool replay(Recipe& recipe, const SkippedStep& step, const std::shared_ptr<const Dataset>& data,
            LoaderOptions options, Json& line, std::string& text) {
  options.workers = 0;
  options.max_bad_fraction = 1;  // judged and listed when the step was first computed
  options.on_bad_sample = {};
  Loader loader(data, options);
  loader.start(step.epoch, step.batch_in_epoch);
  audit::begin_step(step.at.index + 1);
  recipe.params().begin_gradients();
  Step at = step.at;
  for (int64_t micro = 0; micro < step.accumulate; ++micro) {
    const Batch batch = loader.next();
    const audit::Watch watch;
    Tape tape;
    const Var part = micro_loss(recipe, batch, at);
    tape.backward(part, 1.0f / static_cast<float>(step.accumulate));
    if (watch.first()) {
      name_finding(*watch.first(), micro, batch, *data, line, text);
      return true;
    }
    at.first_sample += batch.size();
  }
  return false;
}

}  // namespace

Var micro_loss(Recipe& recipe, const Batch& batch, const Step& at) {
  Var loss = recipe.loss(batch, at);
  audit::output("loss", loss.value(), 0, "loss");
  return loss;
}

Diagnosis diagnose(Recipe& recipe, const SkippedStep& step, std::shared_ptr<const Dataset> data,
                   LoaderOptions options) {
  Json line = {{"loss", number_json(step.loss)}, {"grad_norm", number_json(step.grad_norm)}};
  std::string text = fmt::format("step {}: loss {}, gradient norm {}: update skipped", step.at.index + 1,
                                 number_text(step.loss), number_text(step.grad_norm));
  if (const Param* broken = broken_parameter(recipe.params())) {
    line["parameter"] = broken->name;
    text += fmt::format("; parameter {} itself is not finite: start from an earlier checkpoint",
                        broken->name);
  } else if (!replay(recipe, step, data, std::move(options), line, text)) {
    line["replay"] = "finite";
    text +=
        "; computed again, every value is finite, so the fault was the machine's: test its memory before you "
        "trust it";
  }
  return {text, members(line)};
}

}  // namespace tessera
