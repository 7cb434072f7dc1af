// Regular expressions of tokenizer.json (written for Oniguruma) on pcre2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hymba {

// A range of bytes of the text: [first, second).
using TextRange = std::pair<std::size_t, std::size_t>;

class Regex {
 public:
  // `where` names file and place in errors. UserError for a pattern that pcre2 or the translation does not know.
  Regex(std::string_view pattern, std::string where);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // All matches from left to right, not overlapping; empty ones are left out. `text` must be valid UTF-8.
  // UserError where matching needs more steps than a sane pattern does.
  std::vector<TextRange> find_all(std::string_view text) const;

  // The pattern as pcre2 gets it: Oniguruma's \s \w \h and \uHHHH, which are other sets in pcre2 or unknown to it.
  static std::string translated(std::string_view pattern, const std::string& where);

  // A pattern that finds `text` itself.
  static std::string quoted(std::string_view text);

 private:
  struct Code;  // pcre2's types stay out of this header
  std::unique_ptr<Code> code_;
  std::string where_;
};

}  // namespace hymba
