// A table of text, written for a terminal, as Markdown or as CSV.
#pragma once

#include <string>
#include <vector>

namespace hymba::reports {

enum class Align { kLeft, kRight };
enum class Tone { kPlain, kStrong, kQuiet };  // shown in a terminal only, and only if colour is asked for

struct Column {
  std::string title;
  Align align = Align::kRight;
  int priority = 0;   // 0: never left out; where the width is short, the highest number goes first
  bool wrap = false;  // may break into lines at spaces, down to min_width
  int min_width = 12;
  std::string long_title = "";  // names the column where the title alone would not, e.g. when it is left out
};

struct Cell {
  Cell(std::string text = "", Tone tone = Tone::kPlain) : text(std::move(text)), tone(tone) {}
  Cell(const char* text) : text(text) {}
  std::string text;
  Tone tone;
};

struct TerminalStyle {
  int width = 100;
  bool color = false;  // NO_COLOR and "is this a terminal" are the caller's to ask
};

class Table {
 public:
  explicit Table(std::vector<Column> columns);

  void add_row(std::vector<Cell> cells);  // one cell a column
  // A rule with a label, in front of the next row. CSV leaves it out.
  void add_group(std::string label);

  // Box drawing. Wraps, then leaves out columns until it fits; a line below names what was left out. Where even the
  // columns of priority 0 do not fit, they are cut with "…".
  std::string to_terminal(const TerminalStyle& style = {}) const;
  std::string to_markdown() const;
  std::string to_csv() const;

  const std::vector<Column>& columns() const { return columns_; }
  std::size_t rows() const;

 private:
  struct Row {
    bool group = false;
    std::vector<Cell> cells;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  friend class TerminalWriter;
};

}  // namespace hymba::reports
