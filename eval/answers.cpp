#include "eval/answers.h"

#include <algorithm>

#include "data/utf8.h"

namespace hymba::eval {
namespace {

constexpr std::string_view kPunctuation = R"(!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~)";  // Python's string.punctuation

std::string compared(const AnswerRules& rules, std::string text) {
  for (const auto& pattern : rules.ignore) {
    std::string kept;
    std::size_t at = 0;
    for (const auto& [begin, end] : pattern->find_all(text)) {
      kept += text.substr(at, begin - at);
      at = end;
    }
    text = kept + text.substr(at);
  }
  if (rules.ignore_case) text = to_lower(text);
  if (rules.ignore_punctuation) std::erase_if(text, [](char c) { return kPunctuation.find(c) != std::string_view::npos; });
  return text;
}

}  // namespace

std::string cut_at_stops(std::string text, const std::vector<std::string>& stops) {
  for (const auto& stop : stops) {
    if (!stop.empty()) text = text.substr(0, text.find(stop));
  }
  return text;
}

std::string filtered_answer(const AnswerFilter& filter, const std::string& response) {
  if (!filter.pattern) return response.starts_with(' ') ? response.substr(1) : response;
  const auto matches = filter.pattern->find_all(response);
  if (matches.empty()) return "[invalid]";
  const auto& [begin, end] = filter.last ? matches.back() : matches.front();
  return std::string(strip(std::string_view(response).substr(begin, end - begin)));
}

bool exact_match(const AnswerRules& rules, const std::string& answer, const std::vector<std::string>& right) {
  const std::string mine = compared(rules, answer);
  return std::any_of(right.begin(), right.end(), [&](const std::string& one) { return compared(rules, one) == mine; });
}

bool contains_any(const std::string& text, const std::vector<std::string>& right) {
  const std::string lower = to_lower(text);
  return std::any_of(right.begin(), right.end(), [&](const std::string& one) {
    const std::string wanted = to_lower(strip(one));
    return !wanted.empty() && lower.find(wanted) != std::string::npos;
  });
}

}  // namespace hymba::eval
