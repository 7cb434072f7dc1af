// Figures of `throughput`: the column beside the paper's and the roofline's, and the cost of a token against the context.
#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "base/error.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {
namespace {

// What was asked for: Records of one column share it.
struct Setting {
  std::string size, dtype;
  int batch = 0, context = 0;
  auto key() const { return std::tie(size, dtype, batch, context); }
  bool operator<(const Setting& o) const { return key() < o.key(); }
};

struct SpeedColumn {
  std::map<ModelKey, Record> rows;  // decode_tok_s; the newest Record of each design
  std::set<std::string> hosts;
};

std::map<Setting, SpeedColumn> columns_of(const std::vector<Record>& records) {
  std::map<Setting, SpeedColumn> columns;
  for (const Record& r : records) {
    if (r.study != "throughput" || r.metric != "decode_tok_s" || !std::isfinite(r.value)) continue;
    auto& column = columns[{r.size, extra_text(r, "dtype"), extra_int(r, "batch_asked", 0), extra_int(r, "context", 0)}];
    const ModelKey key{extra_int(r, "row", paper_row_of(r.design)), r.design, r.size, 0};
    const auto found = column.rows.find(key);
    if (found == column.rows.end() || found->second.time <= r.time) column.rows[key] = r;
  }
  for (auto& [setting, column] : columns)
    for (const auto& [key, r] : column.rows) column.hosts.insert(r.host);
  return columns;
}

std::string row_name(const ModelKey& key, const std::vector<PaperRow>& paper) {
  for (const auto& p : paper)
    if (p.row == key.row) return fmt::format("row {}, {}", p.row, p.title);
  return key.design;
}

double published(const ModelKey& key, const std::vector<PaperRow>& paper) {
  for (const auto& p : paper)
    if (p.row == key.row) return p.throughput_tok_s;
  return kNaN;
}

// Everything that a design's column has, as ratios.
struct SpeedLine {
  ModelKey key;
  std::string name;
  double speed, low, high, paper, predicted, a100;
};

std::vector<SpeedLine> lines_of(const SpeedColumn& column, const std::vector<PaperRow>& paper) {
  std::vector<SpeedLine> lines;
  for (const auto& [key, r] : column.rows)
    lines.push_back({key, row_name(key, paper), r.value, extra_number(r, "decode_tok_s_min", r.value), extra_number(r, "decode_tok_s_max", r.value),
                     published(key, paper), extra_number(r, "predicted_tok_s"), extra_number(r, "predicted_a100_tok_s")});
  return lines;
}

std::vector<std::string> labels_of(const std::vector<SpeedLine>& lines) {
  std::vector<std::string> labels;
  for (const auto& l : lines) labels.push_back(l.key.row > 0 ? std::to_string(l.key.row) : l.key.design.substr(0, 8));
  return labels;
}

Panel ratio_panel(const std::vector<SpeedLine>& lines) {
  Panel panel;
  panel.title = "Decode throughput over that of row 1";
  panel.x = {.label = "row of the roadmap", .categories = labels_of(lines)};
  panel.y = {.label = "times row 1 (log)", .log = true};
  Series ours{"ours", 0, Look::kPoints, {}}, paper{"paper", 4, Look::kRings, {}};
  double first = kNaN, paper_first = kNaN;
  for (const auto& l : lines)
    if (l.key.row == 1) first = l.speed, paper_first = l.paper;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto& l = lines[i];
    const auto at = static_cast<double>(i);
    ours.marks.push_back({.x = at, .y = l.speed / first, .error = (l.high - l.low) / 2 / first,
                          .tip = fmt::format("{}|times row 1: {}|the paper's: {}|tokens/s: {} ({} to {})", l.name, number_text(l.speed / first, 3),
                                             number_text(l.paper / paper_first, 3), number_text(l.speed), number_text(l.low), number_text(l.high))});
    paper.marks.push_back({.x = at, .y = l.paper / paper_first,
                           .tip = fmt::format("{} (paper)|times row 1: {}|tokens/s: {}", l.name, number_text(l.paper / paper_first, 3), number_text(l.paper, 5))});
  }
  panel.series = {std::move(paper), std::move(ours)};
  return panel;
}

Panel quotient_panel(const std::string& title, const std::string& label, const std::vector<SpeedLine>& lines, int color, double (*quotient)(const SpeedLine&)) {
  Panel panel;
  panel.title = title;
  panel.x = {.label = "row of the roadmap", .categories = labels_of(lines)};
  panel.y = {.label = label, .low = 0};
  panel.level = 1;
  Series bars{label, color, Look::kBars, {}};
  for (std::size_t i = 0; i < lines.size(); ++i)
    bars.marks.push_back({.x = static_cast<double>(i), .y = quotient(lines[i]), .tip = fmt::format("{}|{}: {}", lines[i].name, label, number_text(quotient(lines[i]), 3))});
  panel.series.push_back(std::move(bars));
  return panel;
}

std::string tau_text(const std::vector<SpeedLine>& lines, double SpeedLine::*value) {
  std::vector<double> ours, paper;
  for (const auto& l : lines) ours.push_back(l.*value), paper.push_back(l.paper);
  const auto a = kendall(ours, paper);
  return std::isfinite(a.tau) ? fmt::format("{:.2f}", a.tau) : std::string("not run");
}

Figure column_figure(const Setting& setting, const SpeedColumn& column, const std::vector<PaperRow>& paper) {
  Figure figure;
  const auto lines = lines_of(column, paper);
  figure.id = "throughput";
  figure.title = "Decode throughput beside the paper's and the roofline's";
  figure.caption = fmt::format(
      "Size {}, {} tokens of context, {}, batch {} (halved until it fits), on {}; the paper: one A100, 8k tokens, batch 128. Whiskers: half the range of "
      "repeats. Kendall's τ with the paper's column: measured {}, roofline of this machine {}, of an A100 {}. The roofline's equations: eval/roofline.cpp.",
      setting.size, setting.context, setting.dtype, setting.batch, column.hosts.size() == 1 ? *column.hosts.begin() : fmt::format("{} machines", column.hosts.size()),
      tau_text(lines, &SpeedLine::speed), tau_text(lines, &SpeedLine::predicted), tau_text(lines, &SpeedLine::a100));
  if (column.hosts.size() > 1)
    figure.notes.push_back(fmt::format("Measured on {} machines: {}. Speeds of different machines do not compare.", column.hosts.size(), fmt::join(column.hosts, "; ")));
  figure.panels = {ratio_panel(lines),
                   quotient_panel("Roofline of this machine", "predicted / measured", lines, 3, [](const SpeedLine& l) { return l.predicted / l.speed; }),
                   quotient_panel("Roofline of an A100", "predicted / paper", lines, 1, [](const SpeedLine& l) { return l.a100 / l.paper; })};
  figure.table = {{"design", "batch", "decode tok/s", "least", "most", "prefill tok/s", "paper tok/s", "predicted tok/s", "predicted / measured", "A100 predicted tok/s",
                   "A100 predicted / paper", "cache MB a sequence", "peak GB"}};
  for (const auto& l : lines) {
    const Record& r = column.rows.at(l.key);
    const double batch = extra_number(r, "batch");
    figure.table.push_back({l.name, number_text(batch), number_text(l.speed, 5), number_text(l.low, 5), number_text(l.high, 5), number_text(extra_number(r, "prefill_tok_s"), 5),
                            number_text(l.paper, 5), number_text(l.predicted, 5), number_text(l.predicted / l.speed, 3), number_text(l.a100, 5),
                            number_text(l.a100 / l.paper, 3), number_text(extra_number(r, "cache_bytes_measured") / batch / 1e6), number_text(extra_number(r, "peak_rss_bytes") / 1e9, 3)});
  }
  return figure;
}

Figure context_figure(const Setting& like, const std::map<int, const SpeedColumn*>& by_context, const std::vector<PaperRow>& paper) {
  Figure figure;
  figure.id = "context-cost";
  figure.title = "Decode time per token against context";
  figure.caption = fmt::format(
      "Time of one decoding step over its batch, size {}, {}, batch {}, from a synthetically filled cache. Flat: states and windows; rising: full attention. Numbers at "
      "the lines: rows of the roadmap; whiskers: half the range of repeats.",
      like.size, like.dtype, like.batch);
  figure.table = {{"design", "context", "ms a token", "least", "most", "batch"}};
  Panel panel;
  panel.x = {.label = "context, tokens (log)", .log = true};
  panel.y = {.label = "decode, ms a token (log)", .log = true};
  std::map<ModelKey, Series> series;
  for (const auto& [context, column] : by_context) {
    for (const auto& [key, r] : column->rows) {
      auto& line = series[key];
      const double ms = 1e3 / r.value, least = 1e3 / extra_number(r, "decode_tok_s_max", r.value), most = 1e3 / extra_number(r, "decode_tok_s_min", r.value);
      line.marks.push_back({.x = static_cast<double>(context), .y = ms, .error = (most - least) / 2,
                            .tip = fmt::format("{}|context: {}|decode: {} ms a token", row_name(key, paper), context, number_text(ms))});
      figure.table.push_back({row_name(key, paper), std::to_string(context), number_text(ms), number_text(least), number_text(most), number_text(extra_number(r, "batch"))});
    }
  }
  int color = 0;
  for (auto& [key, line] : series) {
    if (line.marks.size() < 3) continue;  // measured for the column alone
    line.name = row_name(key, paper);
    line.label = key.row > 0 ? std::to_string(key.row) : key.design;
    line.color = color++;
    panel.series.push_back(std::move(line));
  }
  figure.panels.push_back(std::move(panel));
  return figure;
}

}  // namespace

std::vector<Figure> throughput_figures(const std::vector<Record>& records, const std::vector<PaperRow>& paper) {
  const auto columns = columns_of(records);
  std::vector<Figure> figures;
  // The column with most rows; of several the one nearest to the paper's 8000 tokens.
  const std::pair<const Setting, SpeedColumn>* best = nullptr;
  const auto rank = [](const auto& entry) { return std::make_pair(entry.second.rows.size(), -std::abs(entry.first.context - 8000)); };
  for (const auto& entry : columns)
    if (entry.second.rows.size() >= 2 && (best == nullptr || rank(entry) > rank(*best))) best = &entry;
  if (best != nullptr) figures.push_back(column_figure(best->first, best->second, paper));
  // Columns that differ in nothing but their context.
  std::map<std::tuple<std::string, std::string, int>, std::map<int, const SpeedColumn*>> groups;
  for (const auto& [setting, column] : columns) groups[{setting.size, setting.dtype, setting.batch}][setting.context] = &column;
  const auto longest = std::max_element(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  if (longest != groups.end() && longest->second.size() >= 3) {
    const auto& [size, dtype, batch] = longest->first;
    figures.push_back(context_figure({size, dtype, batch, 0}, longest->second, paper));
  }
  return figures;
}

}  // namespace hymba::reports
