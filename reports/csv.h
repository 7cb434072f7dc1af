// Comma-separated values as RFC 4180 has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hymba::reports {

// The field as it stands in a line: quoted, with quotes doubled, where it holds a comma, a quote or a line end.
std::string csv_field(std::string_view text);

// A line with CRLF.
std::string csv_line(const std::vector<std::string>& fields);

struct CsvLine {
  int line = 0;  // of the file, from 1
  std::vector<std::string> fields;
};

// All lines but empty ones and those that begin with '#'. UserError "WHERE:line" for a quote that is never closed.
std::vector<CsvLine> parse_csv(std::string_view text, const std::string& where);

}  // namespace hymba::reports
