// Text: how numbers are written for people, and small string functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hymba {

std::string format_count(double n);         // 950, 12.3k, 4.56M, 1.52G
std::string format_bytes(double bytes);     // decimal: 1.87 MB
std::string format_seconds(double s);       // 4.2 s, 3 min 05 s, 2 h 10 min
std::string hex64(std::uint64_t value);     // 16 digits
std::string trim(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);  // "a,,b" -> "a", "", "b"; "" -> nothing
std::string join(const std::vector<std::string>& parts, std::string_view separator);
bool starts_with(std::string_view text, std::string_view prefix);
std::string now_utc();  // 2026-01-31T12:00:00Z

// Whole-text numbers; UserError "WHERE: expected a whole number, found 'x'".
std::int64_t parse_int(const std::string& text, const std::string& where);
double parse_double(const std::string& text, const std::string& where);

// "1,5-9" -> 1 5 6 7 8 9. UserError naming `where` for an empty or reversed range or one outside [low, high].
std::vector<int> parse_ranges(const std::string& text, int low, int high, const std::string& where);

}  // namespace hymba
