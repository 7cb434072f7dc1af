// The roadmap as text: for a terminal, as Markdown, as CSV.
#pragma once

#include <string>

#include "reports/roadmap.h"
#include "reports/table.h"

namespace hymba::reports {

inline constexpr const char* kNotRun = "not run";

// How numbers are written in every report; kNotRun for NaN.
std::string percent_text(double fraction);                // 45.16
std::string percent_text(double fraction, double error);  // 45.16 ±0.80
std::string speed_text(double tokens_per_second);         // 2756.5
std::string megabytes_text(double mb);                    // 39.42; three digits below 1 MB

// Rows with the paper's value beside ours, a rule between groups.
Table roadmap_table(const Roadmap& roadmap);
Table agreement_table(const Roadmap& roadmap);

// The whole report: the table, how far the order agrees with the paper's, warnings and how to read it.
std::string roadmap_terminal(const Roadmap& roadmap, const TerminalStyle& style = {});
std::string roadmap_markdown(const Roadmap& roadmap);
// One line a row of plain numbers in full precision; empty where not measured.
std::string roadmap_csv(const Roadmap& roadmap);

}  // namespace hymba::reports
