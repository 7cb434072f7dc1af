#include "reports/paper.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "reports/csv.h"

namespace hymba::reports {

std::vector<PaperRow> parse_paper(std::string_view text, const std::string& where) {
  const std::vector<CsvLine> lines = parse_csv(text, where);
  require(!lines.empty(), "{}: expected a line of column names and one line a row, found nothing", where);
  const std::vector<std::string>& names = lines[0].fields;
  const auto column = [&](const std::string& name) {
    const auto it = std::find(names.begin(), names.end(), name);
    require(it != names.end(), "{}:{}: the column '{}' is missing; add it to the first line", where, lines[0].line,
            name);
    return static_cast<std::size_t>(it - names.begin());
  };
  const std::size_t row = column("row"), group = column("group"), design = column("design"), ratio = column("ratio"),
                    general = column("general"), recall = column("recall"), throughput = column("throughput_tok_s"),
                    cache = column("cache_mb");
  std::vector<PaperRow> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string>& fields = lines[i].fields;
    const std::string at = fmt::format("{}:{}", where, lines[i].line);
    require(fields.size() == names.size(), "{}: expected {} fields, found {}; quote a field that holds a comma", at,
            names.size(), fields.size());
    rows.push_back({static_cast<int>(parse_int(fields[row], at)), fields[group], fields[design], fields[ratio],
                    parse_double(fields[general], at) / 100, parse_double(fields[recall], at) / 100,
                    parse_double(fields[throughput], at), parse_double(fields[cache], at)});
  }
  return rows;
}

std::vector<PaperRow> read_paper(const std::filesystem::path& path) {
  return parse_paper(read_file(path), path.string());
}

double ratio_value(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return kNaN;
  char *end_a = nullptr, *end_b = nullptr;
  const double attention = std::strtod(parts[0].c_str(), &end_a), mamba = std::strtod(parts[1].c_str(), &end_b);
  if (*end_a != '\0' || *end_b != '\0' || (attention == 0 && mamba == 0)) return kNaN;
  return mamba / attention;
}

int paper_row_of(const std::string& design) {
  const bool named = starts_with(design, "row-") && design.size() > 4 && design.size() < 8 &&
                     std::all_of(design.begin() + 4, design.end(), [](char c) { return c >= '0' && c <= '9'; });
  return named ? std::stoi(design.substr(4)) : 0;
}

}  // namespace hymba::reports
