// How the studies' figures write numbers, and short ways to read Records.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "reports/roadmap.h"

namespace hymba::reports {

inline std::string number_text(double v, int digits = 4) {
  return std::isfinite(v) ? fmt::format("{:.{}g}", v, digits) : std::string();
}
inline std::string points_text(double v) {
  return std::isfinite(v) ? fmt::format("{:+.2f}", v * 100) : std::string("–");
}
inline std::string fraction_text(double v) {
  return std::isfinite(v) ? fmt::format("{:.2f} %", v * 100) : std::string("–");
}
inline int extra_int(const Record& r, const char* key, int fallback = -1) {
  const double v = extra_number(r, key);
  return std::isfinite(v) && std::abs(v) < 1e9 ? static_cast<int>(v) : fallback;
}
inline double error_of(const Record& r) { return r.error.value_or(kNaN); }
inline std::string seeds_text(const Record& r) { return std::to_string(extra_int(r, "seeds", 1)); }
// " ± 0.3", or nothing where no error is known.
inline std::string error_text(double error, int digits = 2) { return std::isfinite(error) ? " ± " + number_text(error, digits) : std::string(); }
// A name as part of a file's name and of an HTML id, whatever a Record calls its design.
inline std::string id_text(std::string name) {
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain) c = '_';
  }
  return name;
}
// Cut in the middle of nothing: panels have room for about 50 characters.
inline std::string title_text(const std::string& text, std::size_t most = 50) {
  if (text.size() <= most) return text;
  std::size_t end = most - 1;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

}  // namespace hymba::reports
