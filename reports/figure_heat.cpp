#include "reports/figure_drawing.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "reports/html.h"

namespace hymba::reports {

void Drawing::heat() {
  const Heat& h = *p_.heat;
  if (h.columns.empty() || h.rows.empty()) return;
  std::size_t longest = 1;
  for (const auto& name : h.rows) longest = std::max(longest, std::min<std::size_t>(12, name.size()));
  const double left = std::max(24.0, 6.1 * static_cast<double>(longest) + 8), width = (right_ - left) / static_cast<double>(h.columns.size()),
               height = (kBottom - kTop) / static_cast<double>(h.rows.size());
  heat_cells(left, width, height);
  if (h.numbers) heat_numbers(left, width, height);
  heat_names(left, width, height);
  if (h.line_before >= 0 && h.line_before <= static_cast<double>(h.columns.size())) {
    const double at = left + width * h.line_before - 0.5;
    line(at, kTop - 6, at, kBottom + 4, ink_.color(4), "", 2);
    text(std::min(at + 4, 300.0), kTop - 7, h.line_text, ink_.color(4), "font-size:10.5px;font-weight:600");
  }
  text(right_, kBottom + 34, p_.x.label, ink_.quiet(), "font-size:11px;text-anchor:end");
  text(4, 29, p_.y.label, ink_.quiet(), "font-size:11px");
}

void Drawing::heat_cells(double left, double width, double height) {
  const Heat& h = *p_.heat;
  const bool small = h.rows.size() * h.columns.size() > 300;
  const double gap = small ? 0 : 1;
  out_ += fmt::format("<g data-rows=\"{}\" data-cols=\"{}\" data-x=\"{}\" data-y=\"{}\">", html_text(join(h.rows, "\x1f")), html_text(join(h.columns, "\x1f")),
                      html_text(p_.x.label), html_text(p_.y.label));
  for (std::size_t r = 0; r < h.rows.size(); ++r) {
    for (std::size_t c = 0; c < h.columns.size(); ++c) {
      const double v = h.values[r][c];
      if (!std::isfinite(v)) continue;
      const double t = std::clamp((v - h.low) / std::max(1e-12, h.high - h.low), 0.0, 1.0);
      if (small && t < 0.004) continue;  // what is not drawn is white anyway
      out_ += fmt::format("<path class=\"m\" d=\"M{:.1f} {:.1f}h{:.2f}v{:.2f}h{:.2f}z\" fill-opacity=\"{:.2f}\" data-v=\"{},{},{:.4g}\"/>",
                          left + width * static_cast<double>(c), kTop + height * static_cast<double>(r), width - gap, height - gap, gap - width, 0.04 + 0.96 * t, r, c, v);
    }
  }
  out_ += "</g>";
}

void Drawing::heat_numbers(double left, double width, double height) {
  const Heat& h = *p_.heat;
  for (std::size_t r = 0; r < h.rows.size(); ++r) {
    for (std::size_t c = 0; c < h.columns.size(); ++c) {
      const double v = h.values[r][c], t = (v - h.low) / std::max(1e-12, h.high - h.low);
      const std::string words = !std::isfinite(v) ? "–" : h.percent ? cell_text(v, h.high < 0.2) : short_text(v);
      text(left + width * (static_cast<double>(c) + 0.5), kTop + height * (static_cast<double>(r) + 0.5) + 4, words, t > 0.55 ? (ink_.page ? "var(--card)" : "#fff") : ink_.ink(),
           "font-size:11px;text-anchor:middle;pointer-events:none");
    }
  }
}

// As many names of rows and columns as there is room for.
void Drawing::heat_names(double left, double width, double height) {
  const Heat& h = *p_.heat;
  const auto row_step = static_cast<std::size_t>(std::max(1.0, std::ceil(12 / height)));
  for (std::size_t r = 0; r < h.rows.size(); r += row_step)
    text(left - 5, kTop + height * (static_cast<double>(r) + 0.5) + 4, h.rows[r].substr(0, 12), ink_.quiet(), "font-size:10.5px;text-anchor:end");
  std::size_t widest = 1;
  for (const auto& name : h.columns) widest = std::max(widest, name.size());
  const auto column_step = static_cast<std::size_t>(std::max(1.0, std::ceil((6.2 * static_cast<double>(widest) + 4) / width)));
  for (std::size_t c = 0; c < h.columns.size(); c += column_step)
    text(left + width * (static_cast<double>(c) + 0.5), kBottom + 14, h.columns[c], ink_.quiet(), "font-size:10.5px;text-anchor:middle");
}

}  // namespace hymba::reports
