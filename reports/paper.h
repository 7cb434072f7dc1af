// The paper's published roadmap (ablations/paper/roadmap.csv): what every report puts beside our numbers.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "reports/statistics.h"

namespace hymba::reports {

struct PaperRow {
  int row = 0;
  std::string group;
  std::string title;
  std::string ratio;      // attention : Mamba, "1:8.48"
  double general = kNaN;  // fraction (the file holds percent, as published)
  double recall = kNaN;   // fraction
  double throughput_tok_s = kNaN;
  double cache_mb = kNaN;  // 10^6 bytes
};

// UserError naming the line for a missing column, a wrong number of fields or a value that is no number.
std::vector<PaperRow> parse_paper(std::string_view text, const std::string& where);
std::vector<PaperRow> read_paper(const std::filesystem::path& path);

// The row that a design's name says: "row-09" -> 9, else 0.
int paper_row_of(const std::string& design);

// "1:8.48" -> 8.48 (Mamba per attention), "1:0" -> 0, "0:1" -> infinity, anything else -> NaN.
double ratio_value(const std::string& text);

}  // namespace hymba::reports
