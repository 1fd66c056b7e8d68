// Configuration: plain structs that list their fields once, read strictly from YAML and key=value overrides.
//   struct Optim {
//     double blr = 1.5e-4;
//     template <class V> void fields(V& v) {
//       v("blr", blr, Range::at_least(0), "base learning rate, per 256 pictures");
//     }
//   };
//   struct Config {
//     Optim optim;
//     std::string model = "vit_b";
//     template <class V> void fields(V& v) {
//       v("optim", optim);
//       v("model", model, OneOf{"vit_b", "vit_l"});
//     }
//   };
// Field types: bool, int, int64_t, float, double, std::string, vectors of those, and structs with fields().
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tessera {

// Numbers a field accepts, or each element of a list field. Both ends belong to it unless said otherwise.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool above_low = false;   // low itself is refused
  bool below_high = false;  // high itself is refused

  static Range at_least(double low) { return {.low = low}; }
  static Range above(double low) { return {.low = low, .above_low = true}; }
  static Range half_open(double low, double high) { return {.low = low, .high = high, .below_high = true}; }
};

// Texts a string field accepts, or each element of a list of strings.
struct OneOf {
  std::vector<std::string> allowed;
  OneOf() = default;
  OneOf(std::initializer_list<std::string> texts) : allowed(texts) {}
  explicit OneOf(std::vector<std::string> texts) : allowed(std::move(texts)) {}
};

// One key: where its value lives, what it accepts, one line of help.
struct Field {
  using Target = std::variant<bool*, int*, int64_t*, float*, double*, std::string*, std::vector<bool>*,
                              std::vector<int>*, std::vector<int64_t>*, std::vector<float>*,
                              std::vector<double>*, std::vector<std::string>*>;
  std::string key;  // dotted: "optim.blr"
  Target target;
  Range range;
  OneOf one_of;
  std::string help;
};

// The visitor given to fields(): collects the keys of nested structs in order.
class FieldList {
 public:
  template <class T> void operator()(const char* key, T& value, const char* help = "") {
    add(key, value, Range{}, OneOf{}, help);
  }
  template <class T> void operator()(const char* key, T& value, Range range, const char* help = "") {
    add(key, value, range, OneOf{}, help);
  }
  template <class T> void operator()(const char* key, T& value, OneOf one_of, const char* help = "") {
    add(key, value, Range{}, std::move(one_of), help);
  }
  std::vector<Field> list;

 private:
  template <class T> void add(const char* key, T& value, Range range, OneOf one_of, const char* help) {
    if constexpr (std::is_constructible_v<Field::Target, T*>) {
      list.push_back({prefix_ + key, &value, range, std::move(one_of), help});
    } else {
      const std::string outer = prefix_;
      prefix_ += std::string(key) + ".";
      value.fields(*this);
      prefix_ = outer;
    }
  }
  std::string prefix_;
};

template <class Config> std::vector<Field> fields_of(Config& config) {
  FieldList v;
  config.fields(v);
  return std::move(v.list);
}

// Where each key's value came from: "vit_b.yaml:14", "command line" or "default". For errors that concern
// several keys.
using ConfigSources = std::map<std::string, std::string>;

// Reads `text` (a YAML file named `name` in errors) into the fields. Refuses, with name:line: unknown keys
// (nearest name offered), duplicates, wrong types, values out of range, empty values, numbers that look octal
// or are not finite, anchors, aliases, merge keys, tags and several documents. Throws Error(config).
void read_config_text(const std::vector<Field>& fields, const std::string& text, const std::string& name,
                      ConfigSources& sources);
// Reads the file `path` (none if empty), then the overrides "key.sub=value" in order; later wins.
// Throws Error(config), also when the file cannot be read.
ConfigSources read_config(const std::vector<Field>& fields, const std::string& path,
                          const std::vector<std::string>& overrides);
// All values as YAML that reads back to the same values, bit for bit.
std::string write_config(const std::vector<Field>& fields);
// One line per key: name, type, accepted values, present value, help.
std::string describe_config(const std::vector<Field>& fields);

template <class Config>
ConfigSources load_config(Config& config, const std::string& path,
                          const std::vector<std::string>& overrides) {
  return read_config(fields_of(config), path, overrides);
}
template <class Config> std::string to_yaml(const Config& config) {
  Config copy = config;  // fields() is not const
  return write_config(fields_of(copy));
}

}  // namespace tessera
