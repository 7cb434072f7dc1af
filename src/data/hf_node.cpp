#include "data/hf_node.h"

#include "base/error.h"
#include "data/regex.h"

namespace hymba::hf {

Node::Node(const nlohmann::json& value, std::string where, int depth)
    : value_(&value), where_(std::move(where)), depth_(depth) {
  require(value.is_object(), "{}: expected an object {{...}}, found {}", where_, value.type_name());
  require(depth <= kMaxDepth, "{}: expected at most {} components inside each other, found more", where_, kMaxDepth);
}

bool Node::has(const char* key) const { return value_->contains(key) && !(*value_)[key].is_null(); }

const nlohmann::json& Node::at(const char* key) const {
  require(has(key), "{}: expected \"{}\", found none", where_, key);
  return (*value_)[key];
}

std::string Node::text(const char* key) const {
  const auto& value = at(key);
  require(value.is_string(), "{}: expected text in \"{}\", found {}", where_, key, value.type_name());
  return value.get<std::string>();
}

std::string Node::text(const char* key, const std::string& otherwise) const { return has(key) ? text(key) : otherwise; }

bool Node::flag(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const auto& value = at(key);
  require(value.is_boolean(), "{}: expected true or false in \"{}\", found {}", where_, key, value.type_name());
  return value.get<bool>();
}

std::int64_t Node::number(const char* key, std::int64_t otherwise) const {
  if (!has(key)) return otherwise;
  const auto& value = at(key);
  require(value.is_number_unsigned() && value.get<std::uint64_t>() < (1U << 31),
          "{}: expected a whole number below 2^31 in \"{}\", found {}", where_, key,
          value.is_number() ? value.dump() : value.type_name());
  return value.get<std::int64_t>();
}

Node Node::child(const char* key) const { return {at(key), where_ + "." + key, depth_ + 1}; }

std::vector<Node> Node::children(const char* key) const {
  const auto& list = at(key);
  require(list.is_array(), "{}: expected a list in \"{}\", found {}", where_, key, list.type_name());
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < list.size(); ++i)
    nodes.emplace_back(list[i], fmt::format("{}.{}[{}]", where_, key, i), depth_ + 1);
  return nodes;
}

void Node::unknown_type(const char* what, const char* known) const {
  user_error("{}: no {} of the type '{}' is known; there are: {}", where_, what, type(), known);
}

std::string pattern_of(const Node& node, const char* key) {
  const auto& pattern = node.at(key);
  if (pattern.is_string()) return Regex::quoted(pattern.get<std::string>());
  const Node child = node.child(key);
  return child.has("Regex") ? child.text("Regex") : Regex::quoted(child.text("String"));
}

}  // namespace hymba::hf
