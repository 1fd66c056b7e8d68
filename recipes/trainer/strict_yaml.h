// The part of YAML a configuration needs: maps, lists and scalars. Whatever could mean two things is refused.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tessera {

struct YamlField;

struct YamlNode {
  enum Kind { empty, scalar, list, map };
  Kind kind = empty;
  int line = 0;                   // from 1
  std::string text;               // scalar
  bool quoted = false;            // scalar in quotes or a block: text, whatever it looks like
  std::vector<YamlNode> items;    // list
  std::vector<YamlField> fields;  // map, in file order; keys are scalars, all different
};

struct YamlField {
  YamlNode key, value;
};

// The one document in `text`; `name` stands for the file in errors. Refuses, with name:line, what is not
// YAML, duplicate keys, keys that are no text, anchors, aliases, merge keys, tags, several documents, control
// characters and deep nesting. Throws Error(config). An empty text gives an empty map.
YamlNode parse_strict_yaml(const std::string& text, const std::string& name);

// Where the first character begins that is not UTF-8; npos when there is none. yaml-cpp would put a
// replacement there and so read another path than was written.
size_t find_not_utf8(std::string_view text);

}  // namespace tessera
