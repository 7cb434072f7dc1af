// How one panel is drawn: ranges and axes (figure_draw.cpp), marks (figure_marks.cpp), heat maps (figure_heat.cpp).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "reports/figure_ink.h"

namespace hymba::reports {

inline constexpr double kLeft = 46, kTop = 41, kBottom = 226;  // of the box inside a panel
inline constexpr double kWideRight = 408, kLabelRoom = 22, kLabelStep = 10.5;

std::string short_text(double v);                   // 1200000 -> 1.2M
std::string cell_text(double fraction, bool fine);  // a fraction as percent, with one digit where all values are small; never "-0"

class Drawing {
 public:
  Drawing(const Panel& panel, Ink ink);
  std::string draw();

 private:
  void text(double px, double py, const std::string& words, const std::string& color, const std::string& style = "");
  void line(double x1, double y1, double x2, double y2, const std::string& color, const char* dash = "", double width = 1);
  void whisker(double px, double value, double error);
  std::string tip(const Mark& m) const;
  double x(double v) const;
  double y(double v) const;
  void choose_range();
  static void widen(const AxisSpec& axis, double* low, double* high, double part, bool keep_zero);
  static std::vector<double> ticks(double low, double high, bool log, int most);
  void axes();
  void bars();
  void stacks();
  void polyline(const Series& s);
  void end_labels();
  void points(const Series& s);
  void place(double px, double py, double r, const std::string& label, bool own);
  void heat();
  void heat_cells(double left, double width, double height);
  void heat_numbers(double left, double width, double height);
  void heat_names(double left, double width, double height);

  const Panel& p_;
  Ink ink_;
  std::string out_;
  double right_ = kWideRight, x0_ = 0, x1_ = 1, y0_ = 0, y1_ = 1;
  bool has_data_ = false;
  std::vector<std::array<double, 4>> labels_;
};

}  // namespace hymba::reports
