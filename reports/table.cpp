#include "reports/table.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "reports/csv.h"
#include "reports/unicode.h"

namespace hymba::reports {
namespace {

constexpr int kNarrowest = 3;

std::string repeat(std::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

// Text that Markdown shows as it is: no emphasis, links, HTML or cell ends.
std::string markdown_text(const std::string& text) {
  std::string result;
  for (char c : printable(text)) {
    if (c == '|' || c == '\\' || c == '*' || c == '_' || c == '`' || c == '[' || c == ']') result += '\\';
    result += c == '<' ? std::string("&lt;") : c == '&' ? std::string("&amp;") : std::string(1, c);
  }
  return result;
}

}  // namespace

// Lays the columns of one table out for one width.
class TerminalWriter {
 public:
  TerminalWriter(const Table& table, const TerminalStyle& style) : table_(table), style_(style) {
    for (std::size_t c = 0; c < table.columns_.size(); ++c) shown_.push_back(c);
    natural_ = natural_widths();
    widths_ = natural_;
    fit();
  }

  std::string write() const {
    std::string out = rule("┌", "┬", "┐");
    std::vector<Cell> titles;
    for (const Column& column : table_.columns_) titles.push_back({column.title, Tone::kStrong});
    out += cells(titles);
    bool separated = false;
    for (const Table::Row& row : table_.rows_) {
      if (row.group || !separated) out += group(row.group ? row.cells[0].text : "");
      separated = true;
      if (!row.group) out += cells(row.cells);
    }
    out += rule("└", "┴", "┘");
    if (!left_out_.empty()) out += paragraph("left out at this width: " + join(left_out_, ", "), style_.width);
    return out;
  }

 private:
  // What every column would take if the width were unlimited.
  std::vector<int> natural_widths() const {
    std::vector<int> widths;
    for (const Column& column : table_.columns_) widths.push_back(display_width(printable(column.title)));
    for (const Table::Row& row : table_.rows_) {
      if (row.group) continue;
      for (std::size_t c = 0; c < widths.size(); ++c)
        widths[c] = std::max(widths[c], display_width(printable(row.cells[c].text)));
    }
    return widths;
  }

  // Width of a line: each column has a space on both sides and a border on its right.
  int total() const {
    int sum = 1;
    for (std::size_t c : shown_) sum += widths_[c] + 3;
    return sum;
  }

  // Takes from a wrapping column what the line is too long by, down to `least`.
  void narrow(std::size_t c, int least) {
    widths_[c] = std::max(std::min(natural_[c], least), widths_[c] - std::max(0, total() - style_.width));
  }

  // Wraps first, then drops one column and tries again with the rest at their natural widths.
  void fit() {
    while (true) {
      widths_ = natural_;
      for (std::size_t c : shown_)
        if (table_.columns_[c].wrap) narrow(c, table_.columns_[c].min_width);
      if (total() <= style_.width) return;
      const auto lowest = std::max_element(shown_.begin(), shown_.end(), [this](std::size_t a, std::size_t b) {
        return table_.columns_[a].priority < table_.columns_[b].priority;
      });
      if (lowest == shown_.end() || table_.columns_[*lowest].priority == 0) break;
      const Column& column = table_.columns_[*lowest];
      left_out_.push_back(printable(column.long_title.empty() ? column.title : column.long_title));
      shown_.erase(lowest);
    }
    while (total() > style_.width) {  // cut the widest until it fits or nothing is left to cut
      const auto widest = std::max_element(shown_.begin(), shown_.end(),
                                           [this](std::size_t a, std::size_t b) { return widths_[a] < widths_[b]; });
      if (widest == shown_.end() || widths_[*widest] <= kNarrowest) return;
      --widths_[*widest];
    }
  }

  std::string rule(const char* left, const char* middle, const char* right) const {
    std::string line = left;
    for (std::size_t i = 0; i < shown_.size(); ++i) line += (i ? middle : "") + repeat("─", widths_[shown_[i]] + 2);
    return line + right + "\n";
  }

  // The rule between groups carries the label: ├─ Sliding Window ──┼───┤
  std::string group(const std::string& label) const {
    const std::string plain = rule("├", "┼", "┤");
    if (label.empty()) return plain;
    const int room = total() - 6;
    const std::string text = clip(printable(label), room);
    std::size_t at = 0;
    for (int i = 0; i < display_width(text) + 4; ++i) next_character(plain, at);
    return "├─ " + painted(text, Tone::kQuiet) + ' ' + plain.substr(at);
  }

  // One row, as many lines high as its tallest cell.
  std::string cells(const std::vector<Cell>& row) const {
    std::vector<std::vector<std::string>> lines;
    std::size_t height = 1;
    for (std::size_t c : shown_) {
      const std::string text = printable(row[c].text);
      lines.push_back(table_.columns_[c].wrap ? wrap_text(text, widths_[c])
                                              : std::vector<std::string>{clip(text, widths_[c])});
      height = std::max(height, lines.back().size());
    }
    std::string out;
    for (std::size_t line = 0; line < height; ++line) {
      out += "│";
      for (std::size_t i = 0; i < shown_.size(); ++i) {
        const std::string text = line < lines[i].size() ? lines[i][line] : "";
        const std::string space(std::max(0, widths_[shown_[i]] - display_width(text)), ' ');
        const std::string shown = painted(text, row[shown_[i]].tone);
        out += ' ' + (table_.columns_[shown_[i]].align == Align::kRight ? space + shown : shown + space) + " │";
      }
      out += '\n';
    }
    return out;
  }

  // Escape codes stand around the text only, never around the padding.
  std::string painted(const std::string& text, Tone tone) const {
    if (!style_.color || tone == Tone::kPlain || text.empty()) return text;
    return (tone == Tone::kStrong ? "\x1b[1m" : "\x1b[2m") + text + "\x1b[0m";
  }

  const Table& table_;
  TerminalStyle style_;
  std::vector<std::size_t> shown_;
  std::vector<int> natural_, widths_;
  std::vector<std::string> left_out_;
};

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add_row(std::vector<Cell> cells) {
  require(cells.size() == columns_.size(), "table: expected {} cells in a row, found {}", columns_.size(),
          cells.size());
  rows_.push_back({false, std::move(cells)});
}

void Table::add_group(std::string label) { rows_.push_back({true, {Cell(std::move(label))}}); }

std::size_t Table::rows() const {
  return std::count_if(rows_.begin(), rows_.end(), [](const Row& row) { return !row.group; });
}

std::string Table::to_terminal(const TerminalStyle& style) const { return TerminalWriter(*this, style).write(); }

std::string Table::to_markdown() const {
  std::string out = "|", rule = "|";
  for (const Column& column : columns_) {
    out += ' ' + markdown_text(column.title) + " |";
    rule += column.align == Align::kRight ? " ---: |" : " :--- |";
  }
  out += '\n' + rule + '\n';
  for (const Row& row : rows_) {
    out += '|';
    if (row.group) {  // a group is a row whose first cell alone is filled
      out += " **" + markdown_text(row.cells[0].text) + "** |" + repeat(" |", static_cast<int>(columns_.size()) - 1);
    } else {
      for (const Cell& cell : row.cells) out += ' ' + markdown_text(cell.text) + " |";
    }
    out += '\n';
  }
  return out;
}

std::string Table::to_csv() const {
  std::vector<std::string> fields;
  for (const Column& column : columns_) fields.push_back(column.title);
  std::string out = csv_line(fields);
  for (const Row& row : rows_) {
    if (row.group) continue;
    fields.clear();
    for (const Cell& cell : row.cells) fields.push_back(cell.text);
    out += csv_line(fields);
  }
  return out;
}

}  // namespace hymba::reports
