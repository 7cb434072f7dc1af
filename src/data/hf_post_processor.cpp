#include "data/hf_post_processor.h"

#include "base/error.h"

namespace hymba::hf {

namespace {

// {"single": [{"SpecialToken": {"id": NAME}}, {"Sequence": {...}}, ...], "special_tokens": {NAME: {"ids": [...]}}}
SpecialFrame from_template(const Node& node) {
  SpecialFrame frame;
  bool text_seen = false;
  for (const auto& part : node.children("single")) {
    if (part.has("Sequence")) {
      require(!text_seen, "{}: expected the text once in the template, found it twice", part.where());
      text_seen = true;
      continue;
    }
    const std::string name = part.child("SpecialToken").text("id");
    const Node token = node.child("special_tokens").child(name.c_str());
    const auto& ids = token.at("ids");
    require(ids.is_array(), "{}: expected a list of ids, found {}", token.where(), ids.type_name());
    for (const auto& id : ids) {
      require(id.is_number_unsigned() && id.get<std::uint64_t>() < (1U << 24), "{}: expected an id, found {}",
              token.where(), id.is_number() ? id.dump() : id.type_name());
      (text_seen ? frame.after : frame.before).push_back(id.get<std::int32_t>());
    }
  }
  require(text_seen, "{}: expected the text in the template, found none", node.where());
  return frame;
}

// ["[CLS]", 101]
std::int32_t pair_id(const Node& node, const char* key) {
  const auto& pair = node.at(key);
  require(
      pair.is_array() && pair.size() == 2 && pair[1].is_number_unsigned() && pair[1].get<std::uint64_t>() < (1U << 24),
      "{}: expected [token, id] in \"{}\", found something else", node.where(), key);
  return pair[1].get<std::int32_t>();
}

}  // namespace

SpecialFrame make_special_frame(const Node& node) {
  const std::string type = node.type();
  if (type == "TemplateProcessing") return from_template(node);
  if (type == "ByteLevel") return {};  // changes offsets only
  if (type == "RobertaProcessing" || type == "BertProcessing") return {{pair_id(node, "cls")}, {pair_id(node, "sep")}};
  if (type == "Sequence") {
    SpecialFrame frame;
    for (const auto& child : node.children("processors")) {
      const SpecialFrame more = make_special_frame(child);
      frame.before.insert(frame.before.begin(), more.before.begin(), more.before.end());
      frame.after.insert(frame.after.end(), more.after.begin(), more.after.end());
    }
    return frame;
  }
  node.unknown_type("post-processor", "Sequence TemplateProcessing ByteLevel BertProcessing RobertaProcessing");
}

}  // namespace hymba::hf
