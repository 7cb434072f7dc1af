#include "reports/figure_drawing.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "reports/html.h"

namespace hymba::reports {

std::string short_text(double v) {
  if (std::abs(v) < 1e-12) return "0";
  const double size = std::abs(v);
  if (size >= 1e9) return fmt::format("{:.3g}G", v / 1e9);
  if (size >= 1e6) return fmt::format("{:.3g}M", v / 1e6);
  if (size >= 1e4) return fmt::format("{:.3g}k", v / 1e3);
  return fmt::format("{:.4g}", v);
}
// Fractions as percent, with one digit where all values are small. Never "-0".
std::string cell_text(double fraction, bool fine) {
  const double v = std::abs(fraction) < (fine ? 5e-4 : 5e-3) ? 0.0 : 100 * fraction;
  return fine ? fmt::format("{:.1f}", v) : fmt::format("{:.0f}", v);
}

Drawing::Drawing(const Panel& panel, Ink ink) : p_(panel), ink_(ink) {
  const bool labels = std::any_of(p_.series.begin(), p_.series.end(), [](const Series& s) { return !s.label.empty(); });
  if (labels) right_ -= kLabelRoom;
}

std::string Drawing::draw() {
  text(4, 14, p_.title, ink_.ink(), "font-size:13px;font-weight:600");
  if (p_.heat) {
    heat();
    return out_;
  }
  choose_range();
  if (!has_data_) {
    text((kLeft + right_) / 2, (kTop + kBottom) / 2, "not run", ink_.quiet(), "font-style:italic;text-anchor:middle");
    return out_;
  }
  axes();
  double taken = 0, lower = 0;  // where the last word ends; a word that would cover it goes a line lower
  for (const auto& [at, word] : p_.stages) {
    line(x(at), kTop, x(at), kBottom, ink_.quiet(), "2 3");
    lower = x(at) < taken ? lower + 11 : 0;
    text(x(at) + 3, kTop + 9 + lower, word, ink_.quiet(), "font-size:10px");
    taken = x(at) + 6 + 5.5 * static_cast<double>(word.size());
  }
  if (std::isfinite(p_.level)) line(kLeft, y(p_.level), right_, y(p_.level), ink_.quiet(), "5 4");
  bars();
  stacks();
  for (const auto& s : p_.series) {
    if (s.look == Look::kLine) polyline(s);
  }
  end_labels();
  for (const Look look : {Look::kRings, Look::kPoints}) {
    for (const auto& s : p_.series) {
      if (s.look == look) points(s);
    }
  }
  return out_;
}

void Drawing::text(double px, double py, const std::string& words, const std::string& color, const std::string& style) {
  if (!words.empty())
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:{};{}\">{}</text>", px, py, color, style,
                        html_text(words));
}

void Drawing::line(double x1, double y1, double x2, double y2, const std::string& color, const char* dash,
          double width) {
  out_ += fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" style=\"stroke:{};stroke-width:{}{}\"/>", x1, y1, x2,
                      y2, color, width, *dash ? fmt::format(";stroke-dasharray:{}", dash) : "");
}

void Drawing::whisker(double px, double value, double error) {
  if (!std::isfinite(error) || error <= 0) return;
  const double top = y(std::min(value + error, y1_)), bottom = y(std::max(value - error, y0_));
  if (bottom <= top) return;
  out_ += fmt::format(
      "<path class=\"w\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h4M{3:.1f} {2:.1f}h4\" "
      "style=\"stroke:{4};fill:none\"/>",
      px, top, bottom, px - 2, ink_.ink());
}

std::string Drawing::tip(const Mark& m) const { return m.tip.empty() ? "" : fmt::format(" data-t=\"{}\"", html_text(m.tip)); }

double Drawing::x(double v) const {
  if (!p_.x.categories.empty())
    return kLeft + (right_ - kLeft) * (v + 0.5) / static_cast<double>(p_.x.categories.size());
  const double t = p_.x.log ? std::log(v / x0_) / std::log(x1_ / x0_) : (v - x0_) / (x1_ - x0_);
  return kLeft + t * (right_ - kLeft);
}

double Drawing::y(double v) const {
  const double t = p_.y.log ? std::log(v / y0_) / std::log(y1_ / y0_) : (v - y0_) / (y1_ - y0_);
  return kBottom - t * (kBottom - kTop);
}

void Drawing::choose_range() {
  x0_ = y0_ = INFINITY;
  x1_ = y1_ = -INFINITY;
  bool from_zero = false;
  std::map<double, double> stacked;
  for (const auto& s : p_.series) {
    from_zero = from_zero || s.look == Look::kBars || s.look == Look::kStack;
    for (const auto& m : s.marks) {
      if (!std::isfinite(m.x) || !std::isfinite(m.y)) continue;
      has_data_ = true;
      x0_ = std::min(x0_, m.x);
      x1_ = std::max(x1_, m.x);
      const double e = std::isfinite(m.error) && !p_.y.log ? m.error : 0;
      const double top = s.look == Look::kStack ? stacked[m.x] += m.y : m.y + e;
      y0_ = std::min(y0_, s.look == Look::kStack ? 0 : m.y - e);
      y1_ = std::max(y1_, top);
    }
  }
  if (!has_data_) return;
  if (from_zero) y0_ = std::min(y0_, 0.0), y1_ = std::max(y1_, 0.0);
  if (std::isfinite(p_.level)) y0_ = std::min(y0_, p_.level), y1_ = std::max(y1_, p_.level);
  widen(p_.x, &x0_, &x1_, 0.03, false);
  widen(p_.y, &y0_, &y1_, 0.07, true);
}

void Drawing::widen(const AxisSpec& axis, double* low, double* high, double part, bool keep_zero) {
  if (axis.log) {
    const double f = std::max(1.15, std::pow(*high / *low, part));
    *low /= f, *high *= f;
  } else {
    const double room = (*high > *low ? *high - *low : std::max(1e-3, std::abs(*high))) * part;
    if (!keep_zero || *low != 0) *low -= room;
    if (!keep_zero || *high != 0) *high += room;
  }
  if (std::isfinite(axis.low)) *low = axis.low;
  if (std::isfinite(axis.high)) *high = axis.high;
  if (!(*high > *low)) *high = *low + 1e-3;
}

std::vector<double> Drawing::ticks(double low, double high, bool log, int most) {
  std::vector<double> list;
  if (log) {
    const double decades = std::log10(high / low);
    for (int e = static_cast<int>(std::floor(std::log10(low))); e <= static_cast<int>(std::ceil(std::log10(high)));
         ++e) {
      for (const double part : {1.0, 2.0, 5.0}) {
        const double v = part * std::pow(10, e);
        if (v >= low && v <= high && (decades < 1.6 || part == 1 || (decades < 2.6 && part == 2))) list.push_back(v);
      }
    }
    return list;
  }
  const double unit = std::pow(10, std::floor(std::log10((high - low) / most)));
  double step = 10 * unit;
  for (const double s : {1.0, 2.0, 5.0}) {
    if (s * unit >= (high - low) / most) {
      step = s * unit;
      break;
    }
  }
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) list.push_back(i * step);
  return list;
}

void Drawing::axes() {
  for (const double v : ticks(y0_, y1_, p_.y.log, 5)) {
    line(kLeft, y(v), right_, y(v), ink_.grid());
    text(kLeft - 6, y(v) + 4, p_.y.percent ? short_text(v * 100) : short_text(v), ink_.quiet(),
         "font-size:11px;text-anchor:end");
  }
  if (!p_.x.categories.empty()) {
    const auto& names = p_.x.categories;
    std::size_t longest = 1;
    for (const auto& name : names) longest = std::max(longest, name.size());
    const double room = (right_ - kLeft) / static_cast<double>(names.size());
    const auto every = static_cast<std::size_t>(std::max(1.0, std::ceil(6.4 * static_cast<double>(longest) / room)));
    for (std::size_t i = 0; i < names.size(); i += every)
      text(x(static_cast<double>(i)), kBottom + 15, names[i], ink_.quiet(), "font-size:11px;text-anchor:middle");
  } else {
    for (const double v : ticks(x0_, x1_, p_.x.log, 5)) {
      line(x(v), kTop, x(v), kBottom, ink_.grid());
      text(x(v), kBottom + 15, p_.x.percent ? fmt::format("{:.3g}", v * 100) : short_text(v), ink_.quiet(),
           "font-size:11px;text-anchor:middle");
    }
  }
  const double zero = y0_ <= 0 && y1_ >= 0 && !p_.y.log ? y(0) : kBottom;
  line(kLeft, zero, right_, zero, ink_.quiet());
  text(4, 29, p_.y.label, ink_.quiet(), "font-size:11px");
  text(right_, kBottom + 34, p_.x.label, ink_.quiet(), "font-size:11px;text-anchor:end");
}

std::string panel_body(const Panel& panel, bool page) {
  return fmt::format("<g style=\"fill:{}\">{}</g>", Ink{page}.color(0), Drawing(panel, Ink{page}).draw());
}

}  // namespace hymba::reports
