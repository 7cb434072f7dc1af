#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "reports/figure_ink.h"
#include "reports/html.h"

namespace hymba::reports {
namespace {

constexpr double kLeft = 46, kRight = 408, kTop = 41, kBottom = 226;  // of the box inside a panel

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

class Drawing {
 public:
  Drawing(const Panel& panel, Ink ink) : p_(panel), ink_(ink) {}

  std::string draw() {
    text(4, 14, p_.title, ink_.ink(), "font-size:13px;font-weight:600");
    if (p_.heat) {
      heat();
      return out_;
    }
    choose_range();
    if (!has_data_) {
      text((kLeft + kRight) / 2, (kTop + kBottom) / 2, "not run", ink_.quiet(), "font-style:italic;text-anchor:middle");
      return out_;
    }
    axes();
    for (const auto& [at, word] : p_.stages) {
      line(x(at), kTop, x(at), kBottom, ink_.quiet(), "2 3");
      text(x(at) + 3, kTop + 9, word, ink_.quiet(), "font-size:10px");
    }
    if (std::isfinite(p_.level)) line(kLeft, y(p_.level), kRight, y(p_.level), ink_.quiet(), "5 4");
    bars();
    stacks();
    for (const auto& s : p_.series) {
      if (s.look == Look::kLine) polyline(s);
    }
    for (const Look look : {Look::kRings, Look::kPoints}) {
      for (const auto& s : p_.series) {
        if (s.look == look) points(s);
      }
    }
    return out_;
  }

 private:
  // --- primitives ---
  void text(double px, double py, const std::string& words, const std::string& color, const std::string& style = "") {
    if (!words.empty())
      out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:{};{}\">{}</text>", px, py, color, style,
                          html_text(words));
  }
  void line(double x1, double y1, double x2, double y2, const std::string& color, const char* dash = "",
            double width = 1) {
    out_ += fmt::format("<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" style=\"stroke:{};stroke-width:{}{}\"/>", x1, y1, x2,
                        y2, color, width, *dash ? fmt::format(";stroke-dasharray:{}", dash) : "");
  }
  void whisker(double px, double value, double error) {
    if (!std::isfinite(error) || error <= 0) return;
    const double top = y(std::min(value + error, y1_)), bottom = y(std::max(value - error, y0_));
    if (bottom <= top) return;
    out_ += fmt::format(
        "<path class=\"w\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {1:.1f}h4M{3:.1f} {2:.1f}h4\" "
        "style=\"stroke:{4};fill:none\"/>",
        px, top, bottom, px - 2, ink_.ink());
  }
  std::string tip(const Mark& m) const { return m.tip.empty() ? "" : fmt::format(" data-t=\"{}\"", html_text(m.tip)); }

  double x(double v) const {
    if (!p_.x.categories.empty())
      return kLeft + (kRight - kLeft) * (v + 0.5) / static_cast<double>(p_.x.categories.size());
    const double t = p_.x.log ? std::log(v / x0_) / std::log(x1_ / x0_) : (v - x0_) / (x1_ - x0_);
    return kLeft + t * (kRight - kLeft);
  }
  double y(double v) const {
    const double t = p_.y.log ? std::log(v / y0_) / std::log(y1_ / y0_) : (v - y0_) / (y1_ - y0_);
    return kBottom - t * (kBottom - kTop);
  }

  // --- ranges and axes ---
  void choose_range() {
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
  static void widen(const AxisSpec& axis, double* low, double* high, double part, bool keep_zero) {
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
  static std::vector<double> ticks(double low, double high, bool log, int most) {
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
  void axes() {
    for (const double v : ticks(y0_, y1_, p_.y.log, 5)) {
      line(kLeft, y(v), kRight, y(v), ink_.grid());
      text(kLeft - 6, y(v) + 4, p_.y.percent ? short_text(v * 100) : short_text(v), ink_.quiet(),
           "font-size:11px;text-anchor:end");
    }
    if (!p_.x.categories.empty()) {
      const auto& names = p_.x.categories;
      std::size_t longest = 1;
      for (const auto& name : names) longest = std::max(longest, name.size());
      const double room = (kRight - kLeft) / static_cast<double>(names.size());
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
    line(kLeft, zero, kRight, zero, ink_.quiet());
    text(4, 29, p_.y.label, ink_.quiet(), "font-size:11px");
    text(kRight, kBottom + 34, p_.x.label, ink_.quiet(), "font-size:11px;text-anchor:end");
  }

  // --- marks ---
  // Bars side by side; one that leaves the box is cut and carries its value as text.
  void bars() {
    std::vector<const Series*> list;
    for (const auto& s : p_.series) {
      if (s.look == Look::kBars) list.push_back(&s);
    }
    if (list.empty()) return;
    const double slot = (kRight - kLeft) / static_cast<double>(std::max<std::size_t>(1, p_.x.categories.size()));
    const double wide = std::min(26.0, slot * 0.8 / static_cast<double>(list.size()));
    for (std::size_t k = 0; k < list.size(); ++k) {
      for (const auto& m : list[k]->marks) {
        if (!std::isfinite(m.y)) continue;
        const double left = x(m.x) + wide * (static_cast<double>(k) - 0.5 * static_cast<double>(list.size()));
        const double shown = std::clamp(m.y, y0_, y1_), top = std::min(y(shown), y(0)),
                     height = std::max(0.8, std::abs(y(shown) - y(0)));
        out_ += fmt::format(
            "<rect class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"1.5\" "
            "style=\"fill:{}\"{}/>",
            left + 0.5, top, std::max(0.6, wide - 1), height, ink_.color(list[k]->color), tip(m));
        if (shown == m.y) {
          whisker(left + wide / 2, m.y, m.error);
        } else {
          const bool below = m.y < y0_;
          const double px = left + wide / 2 + 4, py = below ? kBottom - 4 : kTop + 30;
          out_ += fmt::format(
              "<text x=\"{0:.1f}\" y=\"{1:.1f}\" transform=\"rotate(-90 {0:.1f} {1:.1f})\" "
              "style=\"fill:{2};font-size:10px;font-weight:600\">{3}</text>",
              px, py, ink_.ink(), p_.y.percent ? fmt::format("{:.1f}", m.y * 100) : short_text(m.y));
        }
      }
    }
  }
  void stacks() {
    std::map<double, double> floor;
    const double slot = (kRight - kLeft) / static_cast<double>(std::max<std::size_t>(1, p_.x.categories.size())),
                 wide = std::min(40.0, slot * 0.82);
    for (const auto& s : p_.series) {
      if (s.look != Look::kStack) continue;
      for (const auto& m : s.marks) {
        if (!std::isfinite(m.y)) continue;
        double& base = floor[m.x];
        out_ += fmt::format(
            "<rect class=\"m\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" style=\"fill:{}\"{}/>",
            x(m.x) - wide / 2, y(base + m.y), wide, std::max(0.0, y(base) - y(base + m.y)), ink_.color(s.color),
            tip(m));
        base += m.y;
      }
    }
  }
  void polyline(const Series& s) {
    std::string path;
    bool pen = false;
    for (const auto& m : s.marks) {
      const bool known = std::isfinite(m.x) && std::isfinite(m.y) && m.y >= y0_ && m.y <= y1_;
      if (known) path += fmt::format("{}{:.1f} {:.1f}", pen ? "L" : "M", x(m.x), y(m.y));
      pen = known;
    }
    const std::string dash = s.dashed ? ";stroke-dasharray:5 4" : ink_.dash(s.color);
    out_ += fmt::format("<path d=\"{}\" style=\"fill:none;stroke:{};stroke-width:1.8;stroke-linejoin:round{}\"/>", path,
                        s.color < 0 ? ink_.quiet() : ink_.color(s.color), dash);
    for (const auto& m : s.marks) {
      if (m.tip.empty() || !std::isfinite(m.y) || m.y < y0_ || m.y > y1_) continue;
      const bool dots = s.marks.size() <= 40;
      if (dots) whisker(x(m.x), m.y, m.error);
      out_ +=
          fmt::format("<circle class=\"m\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" style=\"fill:{}{}\"{}/>", x(m.x),
                      y(m.y), dots ? 3 : 5, ink_.color(std::max(0, s.color)), dots ? "" : ";fill-opacity:0", tip(m));
    }
  }
  void points(const Series& s) {
    for (const auto& m : s.marks) {
      if (!std::isfinite(m.x) || !std::isfinite(m.y)) continue;
      const double px = x(m.x), py = y(m.y),
                   r = std::isfinite(m.size) ? 2.5 + 8 * std::sqrt(std::clamp(m.size, 0.0, 1.0)) : 4.5;
      const std::string color = ink_.color(s.color);
      out_ +=
          fmt::format("<circle class=\"m\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" style=\"{}\"{}/>", px, py, r,
                      s.look == Look::kRings ? fmt::format("fill:{0};fill-opacity:0;stroke:{0};stroke-width:1.6", color)
                                             : fmt::format("fill:{};fill-opacity:.88", color),
                      tip(m));
      if (s.look == Look::kPoints) whisker(px, m.y, m.error);
      place(px, py, r, m.label, s.look == Look::kPoints);
    }
  }
  // A label at the first place around its point where none stands yet; where it is crowded the tip still names the
  // point.
  void place(double px, double py, double r, const std::string& label, bool own) {
    if (label.empty()) return;
    const double w = 6.2 * static_cast<double>(label.size());
    const double places[][2] = {{0, -r - 3},         {r + w / 2 + 3, 4},  {0, r + 11},
                                {-r - w / 2 - 3, 4}, {r + w / 2, -r - 2}, {-r - w / 2, r + 9}};
    for (const auto& at : places) {
      const double box[4] = {px + at[0] - w / 2, py + at[1] - 9, px + at[0] + w / 2, py + at[1] + 1};
      const bool hit = std::any_of(labels_.begin(), labels_.end(), [&](const auto& b) {
        return box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3];
      });
      if (hit || box[2] > kPanelWidth || box[0] < 0) continue;
      labels_.push_back({box[0], box[1], box[2], box[3]});
      text(px + at[0], py + at[1], label, own ? ink_.ink() : ink_.quiet(),
           own ? "font-size:10.5px;text-anchor:middle;font-weight:600" : "font-size:10.5px;text-anchor:middle");
      return;
    }
  }

  // --- heat map ---
  void heat() {
    const Heat& h = *p_.heat;
    const auto columns = static_cast<double>(h.columns.size()), rows = static_cast<double>(h.rows.size());
    if (h.columns.empty() || h.rows.empty()) return;
    std::size_t longest = 1;
    for (const auto& name : h.rows) longest = std::max(longest, std::min<std::size_t>(12, name.size()));
    const double left = std::max(24.0, 6.1 * static_cast<double>(longest) + 8), w = (kRight - left) / columns,
                 hgt = (kBottom - kTop) / rows;
    out_ += fmt::format("<g data-rows=\"{}\" data-cols=\"{}\" data-x=\"{}\" data-y=\"{}\">",
                        html_text(join(h.rows, "\x1f")), html_text(join(h.columns, "\x1f")), html_text(p_.x.label),
                        html_text(p_.y.label));
    for (std::size_t r = 0; r < h.rows.size(); ++r) {
      for (std::size_t c = 0; c < h.columns.size(); ++c) {
        const double v = h.values[r][c];
        if (!std::isfinite(v)) continue;
        const double t = std::clamp((v - h.low) / std::max(1e-12, h.high - h.low), 0.0, 1.0);
        const bool small = h.rows.size() * h.columns.size() > 300;
        if (small && t < 0.004) continue;  // what is not drawn is white anyway
        out_ += fmt::format(
            "<path class=\"m\" d=\"M{:.1f} {:.1f}h{:.2f}v{:.2f}h{:.2f}z\" fill-opacity=\"{:.2f}\" "
            "data-v=\"{},{},{:.4g}\"/>",
            left + w * static_cast<double>(c), kTop + hgt * static_cast<double>(r), w - (small ? 0 : 1),
            hgt - (small ? 0 : 1), -(w - (small ? 0 : 1)), 0.04 + 0.96 * t, r, c, v);
      }
    }
    out_ += "</g>";
    if (h.numbers) {
      for (std::size_t r = 0; r < h.rows.size(); ++r) {
        for (std::size_t c = 0; c < h.columns.size(); ++c) {
          const double v = h.values[r][c], t = (v - h.low) / std::max(1e-12, h.high - h.low);
          text(left + w * (static_cast<double>(c) + 0.5), kTop + hgt * (static_cast<double>(r) + 0.5) + 4,
               !std::isfinite(v) ? "–"
               : h.percent       ? cell_text(v, h.high < 0.2)
                                 : short_text(v),
               t > 0.55 ? (ink_.page ? "var(--card)" : "#fff") : ink_.ink(),
               "font-size:11px;text-anchor:middle;pointer-events:none");
        }
      }
    }
    const auto row_step = static_cast<std::size_t>(std::max(1.0, std::ceil(12 / hgt)));
    for (std::size_t r = 0; r < h.rows.size(); r += row_step) {
      text(left - 5, kTop + hgt * (static_cast<double>(r) + 0.5) + 4, h.rows[r].substr(0, 12), ink_.quiet(),
           "font-size:10.5px;text-anchor:end");
    }
    std::size_t widest = 1;
    for (const auto& name : h.columns) widest = std::max(widest, name.size());
    const auto column_step =
        static_cast<std::size_t>(std::max(1.0, std::ceil((6.2 * static_cast<double>(widest) + 4) / w)));
    for (std::size_t c = 0; c < h.columns.size(); c += column_step) {
      text(left + w * (static_cast<double>(c) + 0.5), kBottom + 14, h.columns[c], ink_.quiet(),
           "font-size:10.5px;text-anchor:middle");
    }
    if (h.line_before >= 0 && h.line_before <= columns) {
      const double at = left + w * h.line_before - 0.5;
      line(at, kTop - 6, at, kBottom + 4, ink_.color(4), "", 2);
      text(std::min(at + 4, 300.0), kTop - 7, h.line_text, ink_.color(4), "font-size:10.5px;font-weight:600");
    }
    text(kRight, kBottom + 34, p_.x.label, ink_.quiet(), "font-size:11px;text-anchor:end");
    text(4, 29, p_.y.label, ink_.quiet(), "font-size:11px");
  }

  const Panel& p_;
  Ink ink_;
  std::string out_;
  double x0_ = 0, x1_ = 1, y0_ = 0, y1_ = 1;
  bool has_data_ = false;
  std::vector<std::array<double, 4>> labels_;
};

}  // namespace

std::string panel_body(const Panel& panel, bool page) {
  return fmt::format("<g style=\"fill:{}\">{}</g>", Ink{page}.color(0), Drawing(panel, Ink{page}).draw());
}

}  // namespace hymba::reports
