#include "base/text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include "base/error.h"

namespace hymba {

std::string format_count(double n) {
  if (std::abs(n) < 1000) return n == std::floor(n) ? fmt::format("{:.0f}", n) : fmt::format("{:.3g}", n);
  static constexpr const char* kUnits[] = {"k", "M", "G", "T", "P"};
  int unit = -1;
  while (std::abs(n) >= 999.5 && unit < 4) {
    n /= 1000;
    ++unit;
  }
  return fmt::format("{:.3g}{}", n, kUnits[unit]);
}

std::string format_bytes(double bytes) {
  if (bytes < 1000) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.2f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.2f} MB", bytes / 1e6);
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

std::string format_seconds(double s) {
  if (!std::isfinite(s) || s < 0) return "?";
  if (s < 60) return fmt::format("{:.1f} s", s);
  const auto whole = static_cast<long>(std::lround(s));
  if (whole < 3600) return fmt::format("{} min {:02d} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02d} min", whole / 3600, whole % 3600 / 60);
}

std::string hex64(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::string trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

std::string now_utc() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

std::int64_t parse_int(const std::string& text, const std::string& where) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && !text.empty(),
          "{}: expected a whole number, found '{}'", where, text);
  return value;
}

double parse_double(const std::string& text, const std::string& where) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size() && !text.empty(),
          "{}: expected a number, found '{}'", where, text);
  return value;
}

std::vector<int> parse_ranges(const std::string& text, int low, int high, const std::string& where) {
  std::vector<int> values;
  const auto bound = [&](const std::string& word) {
    const auto value = parse_int(trim(word), where);
    require(value >= low && value <= high, "{}: {} is outside {}-{}", where, value, low, high);
    return static_cast<int>(value);
  };
  require(!trim(text).empty(), "{}: expected numbers such as 1,5-9, found nothing", where);
  for (const auto& part : split(text, ',')) {
    const auto dash = part.find('-', 1);
    const int first = bound(part.substr(0, dash));
    const int last = dash == std::string::npos ? first : bound(part.substr(dash + 1));
    require(first <= last, "{}: the range '{}' is empty", where, part);
    for (int i = first; i <= last; ++i) {
      if (std::find(values.begin(), values.end(), i) == values.end()) values.push_back(i);
    }
  }
  return values;
}

}  // namespace hymba
