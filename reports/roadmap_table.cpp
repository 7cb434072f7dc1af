#include "reports/roadmap_table.h"

#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "reports/csv.h"
#include "reports/unicode.h"

namespace hymba::reports {
namespace {

Cell quiet(std::string text) { return {std::move(text), Tone::kQuiet}; }

Cell ours(std::string text) {
  const Tone tone = text == kNotRun ? Tone::kQuiet : Tone::kStrong;
  return {std::move(text), tone};
}

// What a reader must know before comparing two numbers of the table.
std::string reading_note(const Roadmap& roadmap) {
  return fmt::format(
      "{}Size {}: ours, ± one standard error, beside the paper's (300M parameters, one A100); accuracies in percent, "
      "cache in "
      "10^6 bytes by the paper's count. Throughput and accuracy of another size and machine compare by order, not by "
      "value.",
      shapes_note(roadmap), roadmap.size.empty() ? "unknown" : roadmap.size);
}

std::string csv_number(double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }

}  // namespace

std::string percent_text(double fraction) {
  return std::isnan(fraction) ? kNotRun : fmt::format("{:.2f}", fraction * 100);
}

std::string percent_text(double fraction, double error) {
  if (std::isnan(fraction) || std::isnan(error)) return percent_text(fraction);
  return fmt::format("{:.2f} ±{:.2f}", fraction * 100, error * 100);
}

std::string speed_text(double tokens_per_second) {
  return std::isnan(tokens_per_second) ? kNotRun : fmt::format("{:.1f}", tokens_per_second);
}

std::string megabytes_text(double mb) {
  if (std::isnan(mb)) return kNotRun;
  return std::abs(mb) >= 1 || mb == 0 ? fmt::format("{:.2f}", mb) : fmt::format("{:.3g}", mb);
}

Table roadmap_table(const Roadmap& roadmap) {
  Table table({{"#", Align::kRight, 0},
               {"Design", Align::kLeft, 0, true, 16},
               {"Ratio", Align::kRight, 6},
               {"paper", Align::kRight, 9, false, 0, "paper's ratio"},
               {"General %", Align::kRight, 0},
               {"paper", Align::kRight, 3, false, 0, "paper's general"},
               {"Recall %", Align::kRight, 0},
               {"paper", Align::kRight, 2, false, 0, "paper's recall"},
               {"tok/s", Align::kRight, 4, false, 0, "decode tok/s"},
               {"paper", Align::kRight, 7, false, 0, "paper's tok/s"},
               {"Cache MB", Align::kRight, 1},
               {"paper", Align::kRight, 5, false, 0, "paper's cache"},
               {"exact MB", Align::kRight, 8, false, 0, "exact cache"},
               {"Prefill tok/s", Align::kRight, 10},
               {"Params", Align::kRight, 11},
               {"Seeds", Align::kRight, 12}});
  std::string group;
  for (const RoadmapRow& row : roadmap.rows) {
    if (row.group != group) table.add_group(row.group);
    group = row.group;
    const PaperRow paper = row.paper.value_or(PaperRow{});
    const auto published = [&](std::string text) { return quiet(row.paper ? std::move(text) : "–"); };
    table.add_row({row.row > 0 ? std::to_string(row.row) : "", row.title,
                   ours(shown_ratio_text(row).empty() ? kNotRun : shown_ratio_text(row)), published(paper.ratio),
                   ours(percent_text(row.general.value, row.general.error)), published(percent_text(paper.general)),
                   ours(percent_text(row.recall.value, row.recall.error)), published(percent_text(paper.recall)),
                   ours(speed_text(shown_decode(row))), published(speed_text(paper.throughput_tok_s)),
                   ours(megabytes_text(shown_cache(row))), published(megabytes_text(paper.cache_mb)),
                   ours(megabytes_text(shown_cache_exact(row))), ours(speed_text(row.prefill.value)),
                   std::isnan(row.params_total) ? quiet(kNotRun) : format_count(row.params_total),
                   row.seeds.empty() ? quiet("–") : std::to_string(row.seeds.size())});
  }
  return table;
}

Table agreement_table(const Roadmap& roadmap) {
  Table table({{"Order of rows against the paper's", Align::kLeft, 0, true, 16},
               {"Kendall's τ", Align::kRight, 0},
               {"95 % interval", Align::kRight, 0},
               {"p", Align::kRight, 1},
               {"Rows", Align::kRight, 0}});
  for (const ColumnAgreement& c : roadmap.agreement) {
    const Agreement& a = c.agreement;
    const bool known = !std::isnan(a.tau);
    table.add_row({c.column, known ? Cell(fmt::format("{:+.2f}", a.tau)) : quiet(a.n == 0 ? kNotRun : "–"),
                   std::isnan(a.low) ? quiet("–") : Cell(fmt::format("{:+.2f} to {:+.2f}", a.low, a.high)),
                   known ? Cell(a.p_value < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", a.p_value)) : quiet("–"),
                   std::to_string(a.n)});
  }
  return table;
}

std::string roadmap_terminal(const Roadmap& roadmap, const TerminalStyle& style) {
  std::string out = roadmap_table(roadmap).to_terminal(style) + "\n" + agreement_table(roadmap).to_terminal(style);
  for (const std::string& warning : roadmap.warnings) out += paragraph("warning: " + printable(warning), style.width);
  return out + paragraph(reading_note(roadmap), style.width);
}

std::string roadmap_markdown(const Roadmap& roadmap) {
  std::string out = roadmap_table(roadmap).to_markdown() + "\n" + agreement_table(roadmap).to_markdown() + "\n";
  for (const std::string& warning : roadmap.warnings) out += "> Warning: " + warning + "\n\n";
  return out + reading_note(roadmap) + "\n";
}

std::string roadmap_csv(const Roadmap& roadmap) {
  std::string out = csv_line({"row",
                              "design",
                              "title",
                              "group",
                              "size",
                              "ratio",
                              "paper_ratio",
                              "general",
                              "general_stderr",
                              "paper_general",
                              "recall",
                              "recall_stderr",
                              "paper_recall",
                              "decode_tok_s",
                              "prefill_tok_s",
                              "paper_throughput_tok_s",
                              "cache_mb_paper",
                              "cache_mb_exact",
                              "cache_mb_measured",
                              "paper_cache_mb",
                              "params_total",
                              "seeds",
                              "ratio_at_paper_shapes",
                              "cache_mb_at_paper_shapes",
                              "decode_tok_s_at_paper_shapes"});
  for (const RoadmapRow& row : roadmap.rows) {
    const PaperRow paper = row.paper.value_or(PaperRow{});
    out += csv_line({row.row > 0 ? std::to_string(row.row) : "",
                     row.design,
                     row.title,
                     row.group,
                     row.size,
                     row.ratio_text,
                     paper.ratio,
                     csv_number(row.general.value),
                     csv_number(row.general.error),
                     csv_number(paper.general),
                     csv_number(row.recall.value),
                     csv_number(row.recall.error),
                     csv_number(paper.recall),
                     csv_number(row.decode.value),
                     csv_number(row.prefill.value),
                     csv_number(paper.throughput_tok_s),
                     csv_number(row.cache_mb_paper),
                     csv_number(row.cache_mb_exact),
                     csv_number(row.cache_mb_measured),
                     csv_number(paper.cache_mb),
                     csv_number(row.params_total),
                     std::to_string(row.seeds.size()),
                     row.at_paper.ratio_text,
                     csv_number(row.at_paper.cache_mb),
                     csv_number(row.at_paper.decode.value)});
  }
  return out;
}

}  // namespace hymba::reports
