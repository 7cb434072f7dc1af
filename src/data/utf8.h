// UTF-8 text as Python's str sees it: the harness' rules count code points and strip Unicode white space.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hymba {

// Decodes the code point that starts at text[at] and moves `at` behind it. A malformed byte gives 0xFFFD and one step.
char32_t next_code_point(std::string_view text, std::size_t& at);
void append_code_point(std::string& out, char32_t c);
std::size_t count_code_points(std::string_view text);

struct Utf8Errors {
  std::size_t count = 0;  // malformed bytes
  std::size_t first = 0;  // offset of the first one
};
Utf8Errors find_utf8_errors(std::string_view text);
// Every malformed byte becomes U+FFFD.
std::string replace_utf8_errors(std::string_view text);
// Every broken sequence becomes one U+FFFD (Unicode's "maximal subparts", as Python and Rust replace).
std::string replace_utf8_sequences(std::string_view text);

bool is_unicode_space(char32_t c);  // str.isspace()
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);  // str.strip()
// Number of pieces of re.split(r"\s+", text): runs of white space + 1, as the harness counts words.
std::size_t count_words(std::string_view text);

// Lower and upper case of ASCII, Latin-1, Greek and Cyrillic letters; others stay.
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);  // str.capitalize(): first character upper case, the rest lower case

// str.replace(from, to).
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace hymba
