// hymba tradeoff: accuracy against cache and throughput from results, with the designs that no other one beats.
#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/context.h"
#include "cli/study_commands.h"
#include "reports/csv.h"
#include "reports/study_figures.h"
#include "reports/table.h"
#include "reports/unicode.h"

namespace hymba::cli {

void print_tradeoff(const reports::Roadmap& roadmap, bool json) {
  std::vector<std::vector<double>> values;
  std::vector<const reports::RoadmapRow*> rows;
  for (const auto& row : roadmap.rows) {
    if (!row.was_run) continue;
    rows.push_back(&row);
    // Accuracy is the mean of both suites; smaller caches are better.
    values.push_back({(row.general.value + row.recall.value) / 2, -reports::shown_cache(row), reports::shown_decode(row)});
  }
  const auto front = reports::pareto_front(values);
  reports::Table table({{"design", reports::Align::kLeft}, {"general %"}, {"recall %"}, {"cache MB"}, {"decode tok/s"}, {"on the front"}});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& r = *rows[i];
    if (json) {
      print_json({{"design", r.design}, {"title", r.title}, {"general", reports::number_or_null(r.general.value)}, {"general_stderr", reports::number_or_null(r.general.error)},
                  {"recall", reports::number_or_null(r.recall.value)}, {"recall_stderr", reports::number_or_null(r.recall.error)},
                  {"cache_mb_paper", reports::number_or_null(r.cache_mb_paper)}, {"decode_tok_s", reports::number_or_null(r.decode.value)}, {"pareto", static_cast<bool>(front[i])}});
    }
    const auto number = [](double v, double scale, const char* format) { return v == v ? fmt::format(fmt::runtime(format), v * scale) : std::string("not run"); };
    const auto tone = front[i] ? reports::Tone::kStrong : reports::Tone::kPlain;
    table.add_row({{r.design, tone}, {number(r.general.value, 100, "{:.1f}")}, {number(r.recall.value, 100, "{:.1f}")}, {number(reports::shown_cache(r), 1, "{:.4g}")},
                   {number(reports::shown_decode(r), 1, "{:.0f}")}, {front[i] ? "yes" : "", tone}});
  }
  if (json) return;
  const auto note = "On the front: no other design is as good in mean accuracy, cache and throughput and better in one of them. " + reports::shapes_note(roadmap);
  print_text(table.to_terminal({terminal_width(), use_colour()}) + reports::paragraph(note, terminal_width()));
}

namespace {

void run_tradeoff_command(const Invocation& invocation) {
  std::vector<Record> records;
  std::vector<std::string> warnings;
  for (const auto& path : invocation.arguments) {
    const auto more = read_records(path, &warnings);
    records.insert(records.end(), more.begin(), more.end());
  }
  for (const auto& warning : warnings) log_event("tradeoff.warning {}", warning);
  const auto roadmap = reports::build_roadmap(records, reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv"));
  require(std::any_of(roadmap.rows.begin(), roadmap.rows.end(), [](const auto& row) { return row.was_run; }), "{}: no Records of `roadmap` or `sweep` here", invocation.arguments[0]);
  print_tradeoff(roadmap, invocation.json);
  if (invocation.out.empty()) return;
  const std::filesystem::path out = invocation.out;
  const auto figure = reports::tradeoff_figure(roadmap);
  std::string csv;
  for (const auto& line : figure.table) csv += reports::csv_line(line);
  write_file_atomic(out / "tradeoff.svg", reports::figure_svg(figure));
  write_file_atomic(out / "tradeoff.csv", csv);
  log_event("tradeoff out={}", out.string());
}

}  // namespace

Command tradeoff_command() {
  Command c;
  c.name = "tradeoff";
  c.summary = "accuracy against cache and throughput with the Pareto front (figures 2 and 9)";
  c.arguments = "RESULTS...";
  c.example = "  hymba tradeoff results/roadmap-quick --out figures";
  c.min_arguments = 1;
  c.max_arguments = 10000;
  c.run = run_tradeoff_command;
  return c;
}

}  // namespace hymba::cli
