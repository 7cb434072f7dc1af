// UTF-8 as a terminal shows it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hymba::reports {

// Columns that the text takes in a terminal: combining marks 0, East Asian wide and emoji 2, all others 1.
int display_width(std::string_view text);

// Valid UTF-8 without control characters (they could drive the terminal): bytes that are no UTF-8 become U+FFFD,
// control characters become a space.
std::string printable(std::string_view text);

// The longest beginning of at most `width` columns; ends in "…" where text was cut.
std::string clip(std::string_view text, int width);

// Lines of at most `width` columns, broken at spaces; a word that is longer is cut.
std::vector<std::string> wrap_text(const std::string& text, int width);
std::string paragraph(std::string_view text, int width);  // the same, joined, each line ended

// A curve in a line of text, eight heights a character, of `width` characters at most; the range is that of the values unless
// low < high are given. NaN is a space.
std::string sparkline(const std::vector<double>& values, std::size_t width, double low = 0, double high = 0);
// A bar of `share` (0 to 1) of `width` characters, in eighths.
std::string text_bar(double share, int width);

// Decodes the character at `at` and moves `at` behind it; U+FFFD for a broken byte, which is one step.
char32_t next_character(std::string_view text, std::size_t& at);

}  // namespace hymba::reports
