#include "reports/figure_svg.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "reports/html.h"
#include "reports/roadmap_table.h"

namespace hymba::reports {
namespace {

// Okabe and Ito (2008): told apart with every common colour blindness.
constexpr const char* kColors[] = {"#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#56B4E9"};
constexpr const char* kInk = "#1d2430";
constexpr const char* kQuietInk = "#6b7480";
constexpr const char* kGrid = "#e6e9ed";

// Collects elements; every text is escaped here and nowhere else.
class Svg {
 public:
  Svg(double width, double height, const std::string& title, const std::string& subtitle) {
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" "
        "aria-label=\"{2}\" font-family=\"system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif\" "
        "font-size=\"13\" fill=\"{3}\">\n<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" rx=\"10\" "
        "fill=\"#fff\"/>\n",
        width, height, html_text(title), kInk);
    text(32, 40, title, "font-size=\"18\" font-weight=\"600\"");
    text(32, 62, subtitle, fmt::format("fill=\"{}\"", kQuietInk));
  }
  void text(double x, double y, const std::string& text, const std::string& style = "") {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style, html_text(text));
  }
  void line(double x1, double y1, double x2, double y2, const std::string& color, double width = 1,
            const char* dash = "") {
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n", x1, y1,
        x2, y2, color, width, *dash ? fmt::format(" stroke-dasharray=\"{}\"", dash) : "");
  }
  void bar(double x, double top, double width, double bottom, const std::string& style) {
    out_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"2\" {}/>\n", x, top,
                        width, std::max(0.0, bottom - top), style);
  }
  void circle(double x, double y, double r, const std::string& style) {
    out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" {}/>\n", x, y, r, style);
  }
  std::string finish() { return out_ + "</svg>\n"; }

 private:
  std::string out_;
};

// A linear or decimal-logarithmic axis.
struct Axis {
  double low, high, from, to;
  bool log = false;
  double at(double v) const {
    const double t = log ? std::log10(v / low) / std::log10(high / low) : (v - low) / (high - low);
    return from + t * (to - from);
  }
};

// The accuracy axis ends at a full ten percent with room for the highest whisker.
double accuracy_top(const Roadmap& roadmap) {
  double top = 0.1;
  for (const RoadmapRow& r : roadmap.rows) {
    if (r.recall.measured()) top = std::max(top, r.recall.value + (std::isnan(r.recall.error) ? 0 : r.recall.error));
    if (r.paper && !std::isnan(r.paper->recall)) top = std::max(top, r.paper->recall);
  }
  return std::ceil(top * 10 + 0.2) / 10;
}

// Groups take colours in the order of their rows, so both figures agree.
std::map<std::string, std::string> group_colors(const Roadmap& roadmap) {
  std::map<std::string, std::string> colors;
  for (const RoadmapRow& r : roadmap.rows) {
    const std::size_t next = colors.size() % std::size(kColors);
    colors.emplace(r.group, kColors[next]);
  }
  return colors;
}

void accuracy_grid(Svg& svg, const Axis& y, double left, double right, const std::string& label) {
  for (int percent = 0; percent <= static_cast<int>(std::lround(y.high * 100)); percent += 10) {
    const double at = y.at(percent / 100.0);
    svg.line(left, at, right, at, percent == 0 ? "#b8c0c9" : kGrid);
    svg.text(left - 10, at + 4, std::to_string(percent), fmt::format("text-anchor=\"end\" fill=\"{}\"", kQuietInk));
  }
  svg.text(left, y.to - 14, label, fmt::format("fill=\"{}\"", kQuietInk));
}

void group_legend(Svg& svg, const Roadmap& roadmap, const std::map<std::string, std::string>& colors, double x,
                  double y) {
  std::string last;
  for (const RoadmapRow& r : roadmap.rows) {
    if (r.group == last) continue;
    last = r.group;
    svg.circle(x, y - 4, 5, fmt::format("fill=\"{}\"", colors.at(r.group)));
    svg.text(x + 11, y, r.group, fmt::format("fill=\"{}\"", kQuietInk));
    x += 34 + 7.2 * static_cast<double>(r.group.size());
  }
}

// One standard error up and down, never below zero.
void whisker(Svg& svg, double x, const Axis& y, const Estimate& e, double half) {
  if (std::isnan(e.error)) return;
  const double top = y.at(e.value + e.error), bottom = y.at(std::max(0.0, e.value - e.error));
  svg.line(x, top, x, bottom, kInk, 1.2);
  svg.line(x - half, top, x + half, top, kInk, 1.2);
  svg.line(x - half, bottom, x + half, bottom, kInk, 1.2);
}

struct Point {
  const RoadmapRow* row;
  double cache, accuracy, speed;
  bool ours;
};

// The paper's points first, so that ours are drawn over them.
std::vector<Point> scatter_points(const Roadmap& roadmap) {
  std::vector<Point> points;
  for (const RoadmapRow& r : roadmap.rows) {
    if (r.paper && r.paper->cache_mb > 0)
      points.push_back({&r, r.paper->cache_mb, r.paper->recall, r.paper->throughput_tok_s, false});
    if (r.recall.measured() && r.cache_mb_paper > 0)
      points.push_back({&r, r.cache_mb_paper, r.recall.value, r.decode.value, true});
  }
  return points;
}

// The area, not the radius, is proportional to the speed.
double radius(const Point& p, double fastest) {
  return std::isnan(p.speed) ? 5 : 4 + 11 * std::sqrt(p.speed / fastest);
}

// Labels stand above, below, right or left of their point: the first place where no label or point is yet.
class Labels {
 public:
  void occupy(double x, double y, double r) { taken_.push_back({x - r, y - r, x + r, y + r}); }
  void place(Svg& svg, double x, double y, double r, const std::string& text, const std::string& style) {
    const double w = 7.6 * static_cast<double>(text.size()), h = 12;
    const double places[][2] = {{0, -r - 4},
                                {r + w / 2 + 4, 4},
                                {0, r + h + 2},
                                {-r - w / 2 - 4, 4},
                                {r * 0.7 + w / 2 + 2, -r * 0.7 - 2},
                                {r * 0.7 + w / 2 + 2, r * 0.7 + h}};
    for (const auto& place : places) {
      const Box box{x + place[0] - w / 2, y + place[1] - h, x + place[0] + w / 2, y + place[1] + 1};
      const bool hit = std::any_of(taken_.begin(), taken_.end(), [&](const Box& b) {
        return box.left < b.right && b.left < box.right && box.top < b.bottom && b.top < box.bottom;
      });
      if (hit && &place != &places[5]) continue;
      taken_.push_back(box);
      svg.text(x + place[0], y + place[1], text, style);
      return;
    }
  }

 private:
  struct Box {
    double left, top, right, bottom;
  };
  std::vector<Box> taken_;
};

void draw_points(Svg& svg, const Roadmap& roadmap, const std::vector<Point>& points, const Axis& x, const Axis& y) {
  const auto colors = group_colors(roadmap);
  double fastest[2] = {1e-9, 1e-9};
  for (const Point& p : points)
    if (!std::isnan(p.speed)) fastest[p.ours] = std::max(fastest[p.ours], p.speed);
  Labels labels;
  for (const Point& p : points) labels.occupy(x.at(p.cache), y.at(p.accuracy), radius(p, fastest[p.ours]) * 0.8);
  for (const bool ours : {false, true}) {
    for (const Point& p : points) {
      if (p.ours != ours) continue;
      const double px = x.at(p.cache), py = y.at(p.accuracy), r = radius(p, fastest[ours]);
      const std::string& color = colors.at(p.row->group);
      svg.circle(px, py, r,
                 ours ? fmt::format("fill=\"{}\" fill-opacity=\"0.85\" stroke=\"#fff\"", color)
                      : fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"2\"", color));
      if (ours) whisker(svg, px, y, p.row->recall, 4);
      const std::string name = p.row->row > 0 ? std::to_string(p.row->row) : p.row->title;
      labels.place(svg, px, py, r, name,
                   fmt::format("text-anchor=\"middle\" font-size=\"12\" font-weight=\"{}\" fill=\"{}\"",
                               ours ? 600 : 400, ours ? kInk : kQuietInk));
    }
  }
}

}  // namespace

std::string cache_scatter_svg(const Roadmap& roadmap) {
  const double width = 880, height = 560, left = 72, right = 848;
  Svg svg(width, height, "Recall against cache",
          fmt::format(
              "Filled: ours ({}), ± one standard error. Rings: the paper (300M). Area: decode throughput, relative to "
              "the fastest of each.",
              roadmap.size.empty() ? "not run" : roadmap.size));
  const std::vector<Point> points = scatter_points(roadmap);
  double low = 1e300, high = 0;
  for (const Point& p : points) {
    low = std::min(low, p.cache);
    high = std::max(high, p.cache);
  }
  if (points.empty()) low = high = 1;
  const Axis x{low / 1.6, high * 1.6, left, right, true}, y{0, accuracy_top(roadmap), 468, 118};
  accuracy_grid(svg, y, left, right, "Recall accuracy, %");
  for (int e = static_cast<int>(std::ceil(std::log10(x.low))); std::pow(10.0, e) <= x.high; ++e) {
    const double at = x.at(std::pow(10.0, e));
    svg.line(at, y.from, at, y.to, kGrid);
    svg.text(at, y.from + 20, fmt::format("{:g}", std::pow(10.0, e)),
             fmt::format("text-anchor=\"middle\" fill=\"{}\"", kQuietInk));
  }
  svg.text(right, y.from + 40, "Cache, MB (10⁶ bytes, log scale)",
           fmt::format("text-anchor=\"end\" fill=\"{}\"", kQuietInk));
  draw_points(svg, roadmap, points, x, y);
  group_legend(svg, roadmap, group_colors(roadmap), left + 5, height - 22);
  return svg.finish();
}

std::string recall_bars_svg(const Roadmap& roadmap) {
  const double left = 72, right = 848, height = 500;
  const double step = (right - left) / std::max<double>(1, static_cast<double>(roadmap.rows.size()));
  const double wide = std::min(26.0, step * 0.38);
  Svg svg(880, height, "Recall of the roadmap's rows",
          fmt::format("Filled: ours ({}), ± one standard error. Outlined: the paper (300M). Dashed: chance.",
                      roadmap.size.empty() ? "not run" : roadmap.size));
  const Axis y{0, accuracy_top(roadmap), 408, 118};
  accuracy_grid(svg, y, left, right, "Recall accuracy, %");
  const auto colors = group_colors(roadmap);
  double chance = kNaN;
  for (std::size_t i = 0; i < roadmap.rows.size(); ++i) {
    const RoadmapRow& r = roadmap.rows[i];
    const double middle = left + step * (static_cast<double>(i) + 0.5);
    const std::string& color = colors.at(r.group);
    if (r.recall.measured()) {
      svg.bar(middle - wide - 1.5, y.at(r.recall.value), wide, y.from, fmt::format("fill=\"{}\"", color));
      whisker(svg, middle - wide / 2 - 1.5, y, r.recall, 3.5);
    } else {
      svg.text(middle - wide / 2 - 1.5 + 4, y.from - 6, kNotRun,
               fmt::format("font-size=\"10\" fill=\"{}\" transform=\"rotate(-90 {:.1f} {:.1f})\"", kQuietInk,
                           middle - wide / 2 + 2.5, y.from - 6));
    }
    if (r.paper && !std::isnan(r.paper->recall))
      svg.bar(middle + 1.5, y.at(r.paper->recall), wide, y.from,
              fmt::format("fill=\"{0}\" fill-opacity=\"0.10\" stroke=\"{0}\" stroke-width=\"1.5\"", color));
    svg.text(middle, y.from + 20, r.row > 0 ? std::to_string(r.row) : r.title, "text-anchor=\"middle\"");
    if (!std::isnan(r.recall_chance)) chance = r.recall_chance;
  }
  if (!std::isnan(chance)) svg.line(left, y.at(chance), right, y.at(chance), kQuietInk, 1.2, "4 4");
  svg.text(right, y.from + 40, "Row of the roadmap", fmt::format("text-anchor=\"end\" fill=\"{}\"", kQuietInk));
  group_legend(svg, roadmap, colors, left + 5, height - 22);
  return svg.finish();
}

}  // namespace hymba::reports
