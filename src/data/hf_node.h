// One object of a tokenizer.json with its place in the file, for errors that name it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hymba::hf {

// Components nest (Sequence of Sequence ...); nobody needs more, and recursion must end.
inline constexpr int kMaxDepth = 16;

class Node {
 public:
  // `where`: "FILE: pre_tokenizer". UserError where the value is not an object.
  Node(const nlohmann::json& value, std::string where, int depth = 0);

  std::string type() const { return text("type"); }
  bool has(const char* key) const;  // present and not null
  // UserError for an absent or wrong-typed value; the versions with `otherwise` allow absence and null.
  std::string text(const char* key) const;
  std::string text(const char* key, const std::string& otherwise) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t number(const char* key, std::int64_t otherwise) const;
  std::vector<Node> children(const char* key) const;  // a list of objects
  Node child(const char* key) const;
  const nlohmann::json& at(const char* key) const;
  const std::string& where() const { return where_; }
  const nlohmann::json& value() const { return *value_; }
  [[noreturn]] void unknown_type(const char* what, const char* known) const;

 private:
  const nlohmann::json* value_;
  std::string where_;
  int depth_;
};

// {"String": text} or {"Regex": pattern}, or text alone: as a regular expression. `key` names it in `node`.
std::string pattern_of(const Node& node, const char* key);

}  // namespace hymba::hf
