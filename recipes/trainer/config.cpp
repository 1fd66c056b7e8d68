// Reads and writes the fields of a configuration; every complaint says where, which key, what was found and
// what is accepted.
#include "recipes/trainer/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

#include "engine/check.h"
#include "recipes/trainer/disk.h"
#include "recipes/trainer/strict_yaml.h"

namespace tessera {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

// ---- texts of types and limits

template <class T> std::string type_text() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_integral_v<T>) return "an integer";
  if constexpr (std::is_floating_point_v<T>) return "a number";
  return "text";
}

std::string range_text(const Range& r) {
  if (!std::isfinite(r.low) && !std::isfinite(r.high)) return "";
  if (!std::isfinite(r.high)) return fmt::format("{} {}", r.above_low ? ">" : ">=", r.low);
  if (!std::isfinite(r.low)) return fmt::format("{} {}", r.below_high ? "<" : "<=", r.high);
  return fmt::format("{} {} and {} {}", r.above_low ? ">" : ">=", r.low, r.below_high ? "<" : "<=", r.high);
}

bool inside(const Range& r, double x) {
  return (r.above_low ? x > r.low : x >= r.low) && (r.below_high ? x < r.high : x <= r.high);
}

std::string joined(const std::vector<std::string>& texts, const char* between) {
  std::string out;
  for (const std::string& t : texts) out += (out.empty() ? "" : between) + t;
  return out;
}

// ---- nearest name

// Letters inserted, left out, replaced, or swapped with their neighbour ("dmi" is one slip from "dim").
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string_view last_part(std::string_view key) { return key.substr(key.rfind('.') + 1); }  // npos + 1 is 0
std::string_view parent_part(std::string_view key) {
  return key.substr(0, key.size() - last_part(key).size());
}

// `; did you mean "optim.blr"?`, or nothing when no name is near. A right name in the wrong section is near.
std::string suggestion(const std::string& key, const std::set<std::string>& names) {
  std::string best;
  if (key.size() > 100) return best;  // no slip of the keyboard, and the distance costs its length
  size_t best_distance = std::max<size_t>(1, last_part(key).size() / 3) + 1;
  for (const std::string& name : names) {
    const size_t moved = parent_part(key) == parent_part(name) ? 0 : 1;
    const size_t distance = edit_distance(last_part(key), last_part(name)) + moved;
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best.empty() ? "" : fmt::format("; did you mean \"{}\"?", best);
}

// ---- one value

// A scalar on its way into a field.
struct Scalar {
  std::string text;
  bool quoted = false;
  bool verbatim = false;  // from the command line, where a shell has eaten the quotes: text is text
};

class Reader {
 public:
  Reader(const std::vector<Field>& fields, std::string name, ConfigSources& sources)
      : fields_(fields), name_(std::move(name)), sources_(sources) {
    for (const Field& f : fields_) {
      names_.insert(f.key);
      for (size_t dot = f.key.find('.'); dot != std::string::npos; dot = f.key.find('.', dot + 1)) {
        sections_.insert(f.key.substr(0, dot));
      }
    }
    names_.insert(sections_.begin(), sections_.end());
  }

  void read_tree(const YamlNode& root) {
    place_ = at_line(std::max(root.line, 1));
    if (root.kind != YamlNode::map) refuse("a configuration is a list of \"key: value\" lines");
    read_section(root, "");
  }

  void read_override(const std::string& text) {
    place_ = name_;
    has_lines_ = false;
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) refuse(fmt::format("\"{}\" is not key=value", text));
    key_ = text.substr(0, equals);
    const std::string value = text.substr(equals + 1);
    const Field& field = find_field(key_);
    if (sections_.contains(key_))
      refuse(fmt::format("\"{}\" is a section; set one key, such as {}=...", key_, field.key));
    if (value.empty()) refuse(fmt::format("{}: no value after =", key_));
    std::visit([&](auto* target) { read_argument(field, *target, value); }, field.target);
    sources_[key_] = name_;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { fail(ErrorKind::config, "{}: {}", place_, what); }
  [[noreturn]] void refuse_value(const std::string& text, const std::string& what) const {
    refuse(fmt::format("{}: \"{}\" {}", key_, text, what));
  }

  std::string at_line(int line) const { return has_lines_ ? fmt::format("{}:{}", name_, line) : name_; }

  // The field named `key`, or the first of the section of that name.
  const Field& find_field(const std::string& key) const {
    for (const Field& f : fields_) {
      if (f.key == key || (f.key.starts_with(key) && f.key[key.size()] == '.')) return f;
    }
    refuse(fmt::format("unknown key \"{}\"{}", key, suggestion(key, names_)));
  }

  void read_section(const YamlNode& section, const std::string& prefix) {
    for (const YamlField& entry : section.fields) {
      const YamlNode &key = entry.key, &node = entry.value;
      place_ = at_line(key.line);
      key_ = prefix + key.text;
      if (key.text.find('.') != std::string::npos) {
        refuse(
            fmt::format("\"{}\": in a file, a section is written as nested keys, not with a dot", key.text));
      }
      const Field& field = find_field(key_);
      if (node.kind == YamlNode::empty) refuse(fmt::format("{}: no value", key_));
      if (sections_.contains(key_)) {
        if (node.kind != YamlNode::map)
          refuse(fmt::format("{} is a section; it needs nested keys such as {}", key_, field.key));
        read_section(node, key_ + ".");
        continue;
      }
      if (node.kind == YamlNode::map) refuse(fmt::format("{} is one value, not a section", key_));
      std::visit([&](auto* target) { read_node(field, *target, node); }, field.target);
      sources_[key_] = at_line(key.line);
    }
  }

  template <class T> void read_node(const Field& field, T& target, const YamlNode& node) {
    place_ = at_line(node.line);
    if (node.kind != YamlNode::scalar)
      refuse(fmt::format("{}: a list where {} is expected", key_, type_text<T>()));
    target = parse<T>(field, {node.text, node.quoted});
  }
  template <class T> void read_node(const Field& field, std::vector<T>& target, const YamlNode& node) {
    place_ = at_line(node.line);
    if (node.kind != YamlNode::list) refuse_value(node.text, "is not a list; write [a, b]");
    std::vector<T> values;
    for (const YamlNode& item : node.items) {
      place_ = at_line(item.line);
      if (item.kind != YamlNode::scalar)
        refuse(fmt::format("{}: each element must be {}", key_, type_text<T>()));
      values.push_back(parse<T>(field, {item.text, item.quoted}));
    }
    target = std::move(values);
  }

  template <class T> void read_argument(const Field& field, T& target, const std::string& text) {
    target = parse<T>(field, {text, false, true});
  }
  template <class T> void read_argument(const Field& field, std::vector<T>& target, const std::string& text) {
    if (text.front() != '[' || text.back() != ']') refuse_value(text, "is not a list; write [a,b]");
    const YamlNode node = parse_strict_yaml(text, name_);
    read_node(field, target, node);
  }

  template <class T> T parse(const Field& field, const Scalar& s) const {
    if constexpr (std::is_same_v<T, std::string>) {
      return parse_text(field, s);
    } else {
      if (s.quoted) refuse_value(s.text, "is in quotes where " + type_text<T>() + " is expected");
      if constexpr (std::is_same_v<T, bool>) {
        if (s.text != "true" && s.text != "false") refuse_value(s.text, "is neither true nor false");
        return s.text == "true";
      } else {
        return parse_number<T>(field, s.text);
      }
    }
  }

  std::string parse_text(const Field& field, const Scalar& s) const {
    if (!s.quoted && !s.verbatim && looks_typed(s.text))
      refuse_value(s.text, "is not text; put it in quotes if it is meant as such");
    if (s.text.find('\0') != std::string::npos) refuse(fmt::format("{}: text holds a zero byte", key_));
    if (find_not_utf8(s.text) != std::string::npos)
      refuse(fmt::format("{}: text is not UTF-8, and could not be read back from the run's file", key_));
    const auto& allowed = field.one_of.allowed;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), s.text) == allowed.end()) {
      refuse_value(s.text, "is not one of " + joined(allowed, ", "));
    }
    return s.text;
  }
  static bool looks_typed(const std::string& s) {
    double x = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), x);
    return s == "true" || s == "false" || (error == std::errc() && end == s.data() + s.size());
  }

  template <class T> T parse_number(const Field& field, const std::string& s) const {
    static const std::set<std::string> kNotFinite = {".inf", ".Inf", ".INF", "inf", "Inf", "infinity",
                                                     ".nan", ".NaN", ".NAN", "nan", "NaN"};
    const std::string_view digits = std::string_view(s).substr(s.starts_with('-') ? 1 : 0);
    if (kNotFinite.contains(std::string(digits))) refuse_value(s, "is not a finite number");
    if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') {
      refuse_value(s, "has a leading zero (octal, or a slip); write it without");
    }
    T value{};
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
    const bool numeric = s.find_first_not_of("0123456789.eE+-") == std::string::npos;
    if (!numeric || error == std::errc::invalid_argument || end != s.data() + s.size()) {
      refuse_value(s, "is not " + type_text<T>());
    }
    if (error == std::errc::result_out_of_range) refuse_value(s, "does not fit its type");
    if (!inside(field.range, static_cast<double>(value))) {
      refuse_value(s, fmt::format("is out of range; it must be {}", range_text(field.range)));
    }
    return value;
  }

  const std::vector<Field>& fields_;
  std::string name_;
  ConfigSources& sources_;
  std::set<std::string> names_, sections_;
  std::string place_, key_;
  bool has_lines_ = true;  // false for the command line
};

// ---- writing

std::string value_text(bool x) { return x ? "true" : "false"; }
template <class T>
requires std::is_arithmetic_v<T> std::string value_text(T x) {
  if constexpr (std::is_floating_point_v<T>) TS_CHECK(std::isfinite(x), "config: a value is not finite");
  return fmt::format("{}", x);  // the shortest text that reads back to the same bits
}
std::string value_text(const std::string& s) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '/' || c == '.' || c == '-';
  };
  static const std::set<std::string> kWords = {"true", "false", "null", "Null",
                                               "NULL", "inf",   "nan",  "infinity"};
  const bool letter = !s.empty() &&
                      ((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= 'A' && s[0] <= 'Z') || s[0] == '/');
  if (letter && std::all_of(s.begin(), s.end(), plain) && !kWords.contains(s)) return s;
  std::string out = "\"";
  for (char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (u < 0x20 || u == 0x7f) {
      out += fmt::format("\\x{:02x}", u);
    } else {
      out += c;
    }
  }
  return out + "\"";
}
template <class T> std::string value_text(const std::vector<T>& list) {
  std::string out = "[";
  for (size_t i = 0; i < list.size(); ++i)
    out += (i ? ", " : "") + value_text(static_cast<const T&>(list[i]));
  return out + "]";
}

std::string text_of(const Field& f) {
  return std::visit([](const auto* value) { return value_text(*value); }, f.target);
}

template <class T> std::string short_type(const T*) {
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (std::is_integral_v<T>) return "int";
  if constexpr (std::is_floating_point_v<T>) return "float";
  return "text";
}
template <class T> std::string short_type(const std::vector<T>*) {
  return "list of " + short_type(static_cast<const T*>(nullptr));
}

}  // namespace

void read_config_text(const std::vector<Field>& fields, const std::string& text, const std::string& name,
                      ConfigSources& sources) {
  Reader(fields, name, sources).read_tree(parse_strict_yaml(text, name));
}

ConfigSources read_config(const std::vector<Field>& fields, const std::string& path,
                          const std::vector<std::string>& overrides) {
  ConfigSources sources;
  for (const Field& f : fields) {
    TS_CHECK(sources.emplace(f.key, "default").second, "config: two fields are named {}", f.key);
  }
  if (!path.empty()) {
    std::string text;
    try {
      text = read_text(path, kMaxFileBytes);
    } catch (const Error& e) {
      throw Error(ErrorKind::config, e.what());
    }
    read_config_text(fields, text, path, sources);
  }
  Reader arguments(fields, "command line", sources);
  for (const std::string& text : overrides) arguments.read_override(text);
  return sources;
}

std::string write_config(const std::vector<Field>& fields) {
  std::string out;
  std::string section;  // dotted, with a dot at its end
  for (const Field& f : fields) {
    const std::string parent(parent_part(f.key));
    for (size_t begin = 0; begin < parent.size();) {
      const size_t dot = parent.find('.', begin) + 1;
      const std::string upto = parent.substr(0, dot);
      const auto depth = static_cast<size_t>(std::count(upto.begin(), upto.end(), '.')) - 1;
      if (!section.starts_with(upto))
        out += fmt::format("{}{}:\n", std::string(2 * depth, ' '), upto.substr(begin, dot - 1 - begin));
      begin = dot;
    }
    section = parent;
    const auto depth = static_cast<size_t>(std::count(parent.begin(), parent.end(), '.'));
    out += fmt::format("{}{}: {}\n", std::string(2 * depth, ' '), last_part(f.key), text_of(f));
  }
  return out;
}

std::string describe_config(const std::vector<Field>& fields) {
  std::string out;
  for (const Field& f : fields) {
    std::string accepts = std::visit([](const auto* value) { return short_type(value); }, f.target);
    if (!range_text(f.range).empty()) accepts += " " + range_text(f.range);
    if (!f.one_of.allowed.empty()) accepts = joined(f.one_of.allowed, "|");
    out += fmt::format("  {}={}  ({}){}{}\n", f.key, text_of(f), accepts, f.help.empty() ? "" : "  ", f.help);
  }
  return out;
}

}  // namespace tessera
