// Builds the tree from yaml-cpp's events, not from its nodes: those hide duplicates, aliases and quotes.
#include "recipes/trainer/strict_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cstdint>
#include <sstream>

#include "engine/check.h"

namespace tessera {
namespace {

constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxBytes = 256 << 10;

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& name) : name_(name) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) refuse(mark, "a second document begins; a configuration is one document");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { place(mark, YamlNode::empty); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not accepted");
  }
  void OnAnchor(const YAML::Mark& mark, const std::string& anchor) override {
    refuse(mark, fmt::format("anchors (&{}) are not accepted", anchor));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& text) override {
    refuse_tag(mark, tag);
    YamlNode* node = place(mark, YamlNode::scalar, text);
    if (!node) return;
    node->text = text;
    node->quoted = tag == "!";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(mark, YamlNode::list);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    refuse_tag(mark, tag);
    open(mark, YamlNode::map);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& what) const {
    fail(ErrorKind::config, "{}:{}: {}", name_, mark.line + 1, what);
  }
  // yaml-cpp gives "?" to plain nodes and "!" to quoted ones; anything else was written in the file.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(mark, fmt::format("tags ({}) are not accepted", tag));
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (open_.size() >= kMaxDepth) refuse(mark, fmt::format("nested deeper than {}", kMaxDepth));
    open_.push_back(place(mark, kind));
  }

  // Puts a new node where the next one belongs; nullptr when it was a key.
  // Pointers on the stack stay valid: a list or map grows only while it is the innermost.
  YamlNode* place(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& text = "") {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    if (open_.empty()) {
      root_ = std::move(node);
      return &root_;
    }
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::list) return &parent.items.emplace_back(std::move(node));
    if (parent.fields.empty() || awaits_key(parent)) {
      add_key(mark, parent, kind, text);
      return nullptr;
    }
    parent.fields.back().value = std::move(node);
    return &parent.fields.back().value;
  }
  static bool awaits_key(const YamlNode& map) { return map.fields.back().value.line > 0; }

  void add_key(const YAML::Mark& mark, YamlNode& map, YamlNode::Kind kind, const std::string& text) const {
    if (kind != YamlNode::scalar) refuse(mark, "a key must be text");
    if (text == "<<") refuse(mark, "merge keys (<<) are not accepted");
    for (const auto& [key, value] : map.fields) {
      if (key.text == text)
        refuse(mark, fmt::format("duplicate key \"{}\" (first on line {})", text, key.line));
    }
    YamlNode key;
    key.kind = kind;
    key.line = mark.line + 1;
    key.text = text;
    map.fields.push_back({std::move(key), YamlNode{}});
  }

  const std::string& name_;
  YamlNode root_;
  std::vector<YamlNode*> open_;
  int documents_ = 0;
};

}  // namespace

size_t find_not_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t more = lead < 0x80   ? 0
                        : lead < 0xc2 ? 9
                        : lead < 0xe0 ? 1
                        : lead < 0xf0 ? 2
                        : lead < 0xf5 ? 3
                                      : 9;
    if (more > text.size() - i - 1) return i;
    uint32_t code = lead & (0x7fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if (next >> 6 != 2) return i;
      code = code << 6 | (next & 0x3fu);
    }
    // Longer than need be, half of a UTF-16 pair, or above the last.
    if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)) || code >> 11 == 27)
      return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

YamlNode parse_strict_yaml(const std::string& text, const std::string& name) {
  if (text.size() > kMaxBytes)
    fail(ErrorKind::config, "{}: {} bytes are too long for a configuration", name, text.size());
  int line = 1;
  for (char c : text) {
    if (c == '\n') ++line;
    if ((c >= 0 && c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 127) {
      fail(ErrorKind::config, "{}:{}: control character {:#04x}", name, line, static_cast<unsigned char>(c));
    }
  }
  if (const size_t at = find_not_utf8(text); at != std::string::npos) {
    fail(ErrorKind::config, "{}:{}: byte {:#04x} is not UTF-8", name,
         1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(at), '\n'),
         static_cast<unsigned char>(text[at]));
  }
  // yaml-cpp lets the end of the file close an open quote, unless the last line has something on it.
  const bool blank_end = !text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\t');
  const std::string closed = !blank_end ? text : text + (text.back() == '\n' ? "#" : "\n#");
  TreeBuilder builder(name);
  try {
    std::istringstream stream(closed);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    fail(ErrorKind::config, "{}:{}: not YAML: {}", name, e.mark.line + 1, e.msg);
  }
  YamlNode root = builder.take();
  if (root.kind == YamlNode::empty) root.kind = YamlNode::map;
  return root;
}

}  // namespace tessera
