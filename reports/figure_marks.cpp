#include "reports/figure_drawing.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "reports/html.h"

namespace hymba::reports {

// Bars side by side; one that leaves the box is cut and carries its value as text.
void Drawing::bars() {
  std::vector<const Series*> list;
  for (const auto& s : p_.series) {
    if (s.look == Look::kBars) list.push_back(&s);
  }
  if (list.empty()) return;
  const double slot = (right_ - kLeft) / static_cast<double>(std::max<std::size_t>(1, p_.x.categories.size()));
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

void Drawing::stacks() {
  std::map<double, double> floor;
  const double slot = (right_ - kLeft) / static_cast<double>(std::max<std::size_t>(1, p_.x.categories.size())),
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

void Drawing::polyline(const Series& s) {
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

// Short names where the lines end, pushed apart, with a thread to the line where one had to move far.
void Drawing::end_labels() {
  struct Label {
    double px, py, at;
    const Series* series;
  };
  std::vector<Label> list;
  for (const auto& s : p_.series) {
    if (s.look != Look::kLine || s.label.empty()) continue;
    for (auto m = s.marks.rbegin(); m != s.marks.rend(); ++m) {
      if (!std::isfinite(m->x) || !std::isfinite(m->y) || m->y < y0_ || m->y > y1_) continue;
      list.push_back({x(m->x), y(m->y), y(m->y), &s});
      break;
    }
  }
  std::stable_sort(list.begin(), list.end(), [](const Label& a, const Label& b) { return a.py < b.py; });
  for (std::size_t i = 1; i < list.size(); ++i) list[i].at = std::max(list[i].at, list[i - 1].at + kLabelStep);
  double floor = kBottom;
  for (auto l = list.rbegin(); l != list.rend(); ++l) {
    l->at = std::min(l->at, floor);
    floor = l->at - kLabelStep;
  }
  for (const auto& l : list) {
    const std::string color = ink_.color(std::max(0, l.series->color));
    if (std::abs(l.at - l.py) > 3) line(l.px + 3, l.py, right_ + 6, l.at, color, "", 0.6);
    text(right_ + 8, l.at + 3.5, l.series->label.substr(0, 3), color, "font-size:10px;font-weight:600");
  }
}

void Drawing::points(const Series& s) {
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
void Drawing::place(double px, double py, double r, const std::string& label, bool own) {
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

}  // namespace hymba::reports
