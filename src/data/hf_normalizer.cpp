#include "data/hf_normalizer.h"

#include <memory>

#include "base/error.h"
#include "data/byte_alphabet.h"
#include "data/normal_form.h"
#include "data/regex.h"
#include "data/utf8.h"

namespace hymba::hf {

namespace {

Normalizer sequence(const Node& node) {
  std::vector<Normalizer> steps;
  for (const auto& child : node.children("normalizers")) steps.push_back(make_normalizer(child));
  return [steps](std::string text) {
    for (const auto& step : steps) text = step(std::move(text));
    return text;
  };
}

// Every match of the pattern becomes `content`, as it stands.
Normalizer replace(const Node& node) {
  const std::string content = node.text("content");
  if (node.at("pattern").is_object() && node.child("pattern").has("String")) {
    const std::string from = node.child("pattern").text("String");
    require(!from.empty(), "{}: expected a text to replace, found an empty one", node.where());
    return [from, content](std::string text) { return replace_all(std::move(text), from, content); };
  }
  const auto regex = std::make_shared<Regex>(pattern_of(node, "pattern"), node.where());
  return [regex, content](std::string text) {
    std::string out;
    std::size_t done = 0;
    for (const auto& [begin, end] : regex->find_all(text)) {
      out.append(text, done, begin - done);
      out += content;
      done = end;
    }
    return out.append(text, done);
  };
}

Normalizer strip(const Node& node) {
  return [left = node.flag("strip_left", true), right = node.flag("strip_right", true)](std::string text) {
    std::size_t begin = text.size(), end = 0;  // of what is no white space
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t start = at;
      if (is_white_space(next_code_point(text, at))) continue;
      begin = std::min(begin, start);
      end = at;
    }
    if (!left) begin = 0;
    if (!right) end = text.size();
    return begin < end ? text.substr(begin, end - begin) : std::string();
  };
}

std::string without_marks(std::string text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (!is_mark(c)) append_code_point(out, c);
  }
  return out;
}

Normalizer form(NormalForm which) {
  return [which](std::string text) { return normal_form(text, which); };
}

}  // namespace

Normalizer make_normalizer(const Node& node) {
  const std::string type = node.type();
  if (type == "Sequence") return sequence(node);
  if (type == "NFC") return form(NormalForm::kNfc);
  if (type == "NFD") return form(NormalForm::kNfd);
  if (type == "NFKC") return form(NormalForm::kNfkc);
  if (type == "NFKD") return form(NormalForm::kNfkd);
  if (type == "Lowercase") return [](std::string text) { return lowercase(text); };
  if (type == "StripAccents") return without_marks;
  if (type == "Strip") return strip(node);
  if (type == "Replace") return replace(node);
  if (type == "ByteLevel") return [](std::string text) { return byte_alphabet().encode(text); };
  if (type == "Prepend") {
    return [before = node.text("prepend")](std::string text) { return text.empty() ? text : before + text; };
  }
  node.unknown_type("normalizer", "Sequence NFC NFD NFKC NFKD Lowercase StripAccents Strip Replace Prepend ByteLevel");
}

}  // namespace hymba::hf
