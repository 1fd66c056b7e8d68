// Options of parity.h: a JSON object whose keys remember whether they were read.
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "recipes/trainer/parity.h"

namespace tessera {

struct Options::Impl {
  nlohmann::json json;
  std::set<std::string> read;

  const nlohmann::json& at(const std::string& key) {
    read.insert(key);
    if (!json.contains(key)) throw UnknownOption("parity: option \"" + key + "\" is missing");
    return json[key];
  }
  [[noreturn]] static void wrong_type(const std::string& key, const char* wanted) {
    throw UnknownOption("parity: option \"" + key + "\" is no " + wanted);
  }
  static std::vector<double> numbers(const std::string& key, const nlohmann::json& v) {
    if (v.is_number()) return {v.get<double>()};
    if (!v.is_array()) wrong_type(key, "list of numbers");
    std::vector<double> all;
    for (const auto& e : v) {
      if (!e.is_number()) wrong_type(key, "list of numbers");
      all.push_back(e.get<double>());
    }
    return all;
  }
};

Options::Options(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Options::Options(const std::string& text) : impl_(std::make_unique<Impl>()) {
  impl_->json = nlohmann::json::parse(text, nullptr, false);
  if (!impl_->json.is_object()) fail(ErrorKind::checkpoint, "parity: __metadata__.config is no JSON object");
}
Options::~Options() = default;
Options::Options(Options&&) noexcept = default;

bool Options::has(const std::string& key) const { return impl_->json.contains(key); }

bool Options::is_null(const std::string& key) const {
  impl_->read.insert(key);
  return !has(key) || impl_->json[key].is_null();
}

bool Options::is_text(const std::string& key) const { return has(key) && impl_->json[key].is_string(); }

int64_t Options::integer(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_number()) Impl::wrong_type(key, "number");
  const double d = v.get<double>();
  if (!(std::fabs(d) <= 0x1p53) || d != std::trunc(d)) Impl::wrong_type(key, "whole number");
  return static_cast<int64_t>(d);
}

double Options::number(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_number()) Impl::wrong_type(key, "number");
  return v.get<double>();
}

bool Options::flag(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_boolean()) Impl::wrong_type(key, "true or false");
  return v.get<bool>();
}

std::string Options::text(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_string()) Impl::wrong_type(key, "text");
  return v.get<std::string>();
}

std::vector<double> Options::numbers(const std::string& key) const {
  return Impl::numbers(key, impl_->at(key));
}

std::vector<std::vector<double>> Options::tuples(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_array()) Impl::wrong_type(key, "list of lists");
  std::vector<std::vector<double>> all;
  for (const auto& e : v) all.push_back(Impl::numbers(key, e));
  return all;
}

std::vector<std::string> Options::texts(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_array()) Impl::wrong_type(key, "list of texts");
  std::vector<std::string> all;
  for (const auto& e : v) {
    if (!e.is_string()) Impl::wrong_type(key, "list of texts");
    all.push_back(e.get<std::string>());
  }
  return all;
}

Options Options::object(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_object()) Impl::wrong_type(key, "object");
  auto impl = std::make_unique<Impl>();
  impl->json = v;
  return Options(std::move(impl));
}

std::vector<Options> Options::objects(const std::string& key) const {
  const auto& v = impl_->at(key);
  if (!v.is_array()) Impl::wrong_type(key, "list of objects");
  std::vector<Options> all;
  for (const auto& e : v) {
    if (!e.is_object()) Impl::wrong_type(key, "list of objects");
    auto impl = std::make_unique<Impl>();
    impl->json = e;
    all.push_back(Options(std::move(impl)));
  }
  return all;
}

std::vector<std::string> Options::keys() const {
  std::vector<std::string> all;
  for (const auto& [key, value] : impl_->json.items()) all.push_back(key);
  return all;
}

void Options::require(const std::string& key, double value) const {
  if (has(key) && number(key) != value) {
    throw UnknownOption(fmt::format("parity: {} = {}, only {} is known", key, number(key), value));
  }
}

void Options::require(const std::string& key, const std::string& value) const {
  if (has(key) && text(key) != value) {
    throw UnknownOption(fmt::format("parity: {} = {}, only {} is known", key, text(key), value));
  }
}

void Options::ignore(const std::vector<std::string>& keys) const {
  impl_->read.insert(keys.begin(), keys.end());
}

void Options::require_all_read(const std::string& path) const {
  for (const std::string& key : keys()) {
    if (!impl_->read.contains(key)) throw UnknownOption("parity: option \"" + path + key + "\" is not known");
  }
}

}  // namespace tessera
