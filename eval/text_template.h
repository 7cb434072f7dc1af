// Templates of task files: "Question: {question|strip}\nAnswer:" over one JSON record.
//
//   {field}  {choices.text}  {answers.0}   a value of the record, by name or index
//   {field|filter|filter:argument}         filters, from left to right (list below)
//   \n \t \s \\                            line end, tab, space (at an end of a value), backslash
//
// Filters: strip, capitalize (Python's: the rest becomes lower case), lower_first, clean (HellaSwag's brackets),
// capitalize_tail (HellaSwag contexts whose parts were joined already), spaces ("_" -> " "), chop (drops the last
// character), before:X and after:X (the first X), before_last_word and last_word (split at single spaces),
// drop_end:X, replace:A=>B, map:a=x,b=y, detokenize (WikiText).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hymba::eval {

class TextTemplate {
 public:
  TextTemplate() = default;
  // UserError naming `where` for an open brace or an unknown filter.
  TextTemplate(const std::string& text, const std::string& where);

  bool empty() const { return parts_.empty(); }
  // True if the record has every field this template names.
  bool fits(const nlohmann::json& record) const;
  // The first field the record lacks, or "".
  std::string missing_field(const nlohmann::json& record) const;
  // UserError naming `where` if a field is absent or no text, number or boolean.
  std::string render(const nlohmann::json& record, const std::string& where) const;
  // The list that a template of one bare {field} stands for, or nullptr where it is no list.
  const nlohmann::json* list(const nlohmann::json& record) const;
  // Of a template of one {field|split:X}, which stands for the pieces between X; "" for any other.
  std::string separator() const;
  // The value of a template of one bare {field}, or nullptr.
  const nlohmann::json* value(const nlohmann::json& record) const;

 private:
  struct Filter {
    std::string name, argument;
  };
  struct Part {
    std::string literal;             // if path is empty
    std::vector<std::string> path;
    std::vector<Filter> filters;
  };
  static std::string apply(const Filter& filter, std::string text, const std::string& where);
  void parse_placeholder(const std::string& body, const std::string& where);

  std::vector<Part> parts_;
};

// The value at a path ("choices", "text", "0"), or nullptr.
const nlohmann::json* find_value(const nlohmann::json& record, const std::vector<std::string>& path);

// Splits "{a} | {b|strip}" at " | " outside braces.
std::vector<std::string> split_alternatives(const std::string& text);

// lm-evaluation-harness' preparation of HellaSwag texts.
std::string clean_hellaswag(std::string_view text);
// Its WikiText detokenizer: undoes the spaces around punctuation and the @-@ marks.
std::string detokenize_wikitext(std::string_view page);

}  // namespace hymba::eval
