// Figures as data, and one way to draw them: small panels as SVG, for the page and for documents alike.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "reports/statistics.h"

namespace hymba::reports {

struct Mark {
  double x = kNaN, y = kNaN;
  double error = kNaN;     // whisker up and down
  double size = kNaN;      // area of a point relative to the largest: 0 to 1; NaN: one size for all
  std::string label = {};  // beside a point
  std::string tip = {};    // "Title|name: value|name: value", shown on hover and by the keyboard
};

enum class Look { kBars, kStack, kLine, kPoints, kRings };

struct Series {
  std::string name = {};
  int color = 0;  // of the palette
  Look look = Look::kLine;
  std::vector<Mark> marks = {};
  bool dashed = false;
  std::string label = {};  // at the end of a line
};

struct AxisSpec {
  std::string label = {};
  double low = kNaN, high = kNaN;  // NaN: from the data
  bool log = false;
  bool percent = false;                      // fractions are written as percent
  std::vector<std::string> categories = {};  // x: category i stands at x = i
};

struct Heat {
  std::vector<std::string> columns, rows;   // names; a long list is thinned where it is written
  std::vector<std::vector<double>> values;  // [row][column], NaN: not run
  double low = 0, high = 1;
  bool percent = false;
  bool numbers = false;     // written into the cells
  double line_before = -1;  // a line before this column, between the ones that were trained on and the rest
  std::string line_text;
};

struct Panel {
  std::string title;
  AxisSpec x, y;
  std::vector<Series> series;
  std::optional<Heat> heat;
  std::vector<std::pair<double, std::string>> stages;  // vertical lines with a word
  double level = kNaN;                                 // a dashed horizontal line: chance
};

struct Figure {
  std::string id, title, caption;
  std::vector<Panel> panels;
  std::vector<std::string> notes;               // what is missing, what contradicts
  std::vector<std::vector<std::string>> table;  // the numbers behind it; the first line holds the names
};

// One panel, 420 units wide, coloured by the page's CSS variables.
std::string panel_svg(const Panel& panel, const std::string& label);
// Names and colours of all series, in the order in which they appear, each once.
std::vector<std::pair<std::string, const Series*>> figure_legend(const Figure& figure);
// The whole figure as a document of its own, on white, with title, caption and legend.
std::string figure_svg(const Figure& figure);
std::string figure_csv(const Figure& figure);  // the numbers behind it
// Its section of the page: heading, caption, panels, legend, numbers. Works without scripts.
std::string figure_html(const Figure& figure);

}  // namespace hymba::reports
