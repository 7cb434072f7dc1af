// Colours and sizes that panels and whole figures share.
#pragma once

#include <fmt/format.h>

#include <string>

#include "reports/figure.h"

namespace hymba::reports {

inline constexpr double kPanelWidth = 420, kPanelHeight = 270;

// Okabe and Ito (2008) on white; the page has a light and a dark shade of each.
inline constexpr const char* kPalette[] = {"#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9", "#6b6b6b"};
inline constexpr const char* kDashes[] = {"", "6 3", "2 3", "8 3 2 3"};  // after seven colours the dashes change

// Colours as CSS variables of the page, or as they are for documents.
struct Ink {
  bool page = false;
  std::string color(int i) const { return page ? fmt::format("var(--c{})", i % 7) : kPalette[i % 7]; }
  std::string dash(int i) const {
    return *kDashes[(i / 7) % 4] ? fmt::format(";stroke-dasharray:{}", kDashes[(i / 7) % 4]) : "";
  }
  std::string ink() const { return page ? "var(--ink)" : "#1d2430"; }
  std::string quiet() const { return page ? "var(--quiet)" : "#626b78"; }
  std::string grid() const { return page ? "var(--line)" : "#e4e7eb"; }
};

// The elements of one panel, kPanelWidth by kPanelHeight units.
std::string panel_body(const Panel& panel, bool page);

}  // namespace hymba::reports
