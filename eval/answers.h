// Generated answers against the right ones, by the harness' rules: the text is cut at the first stop, filters take the
// answer out of it, and both sides lose what does not count before they are compared.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/regex.h"

namespace hymba::eval {

// Takes one match of a pattern for the answer; "[invalid]" where there is none.
struct AnswerFilter {
  std::string name;  // "strict-match"; metrics are called exact_match,strict-match
  std::shared_ptr<const Regex> pattern;  // null: the text as it is, without one space in front
  bool last = false;                     // the last match instead of the first
};

struct AnswerRules {
  std::vector<AnswerFilter> filters;
  std::vector<std::shared_ptr<const Regex>> ignore;  // matches are deleted from both sides
  bool ignore_case = false, ignore_punctuation = false;
};

// Up to the first of any stop.
std::string cut_at_stops(std::string text, const std::vector<std::string>& stops);
std::string filtered_answer(const AnswerFilter& filter, const std::string& response);
bool exact_match(const AnswerRules& rules, const std::string& answer, const std::vector<std::string>& right);
// Does the text hold one of them, in any case of letters?
bool contains_any(const std::string& text, const std::vector<std::string>& right);

}  // namespace hymba::eval
