#include "reports/csv.h"

#include <algorithm>

#include "base/error.h"

namespace hymba::reports {
namespace {

// One pass; `line_` counts file lines, also those within a quoted field, so that errors name the right one.
class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  std::vector<CsvLine> parse() {
    std::vector<CsvLine> lines;
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
        end_of_line();
        continue;
      }
      CsvLine line = one_line();
      if (line.fields.size() > 1 || !line.fields[0].empty()) lines.push_back(std::move(line));
    }
    return lines;
  }

 private:
  CsvLine one_line() {
    CsvLine line;
    line.line = line_;
    line.fields.push_back(field());
    while (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      line.fields.push_back(field());
    }
    end_of_line();
    return line;
  }

  std::string field() {
    if (at_ < text_.size() && text_[at_] == '"') return quoted();
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string quoted() {
    const int begin = line_;
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        value += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        value += text_[at_++];
      } else {
        ++at_;
        const bool ended = at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n' || text_[at_] == '\r';
        require(ended, "{}:{}: expected a comma after the closing quote, found '{}'; double a quote within a field",
                where_, line_, ended ? ' ' : text_[at_]);
        return value;
      }
    }
    user_error("{}:{}: a quote opens here and is never closed; close it, or double it if it is part of the text",
               where_, begin);
  }

  void end_of_line() {
    if (at_ < text_.size() && text_[at_] == '\r') ++at_;
    if (at_ < text_.size() && text_[at_] == '\n') ++at_;
    ++line_;
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string csv_line(const std::vector<std::string>& fields) {
  std::string line;
  for (std::size_t i = 0; i < fields.size(); ++i) line += (i ? "," : "") + csv_field(fields[i]);
  return line + "\r\n";
}

std::vector<CsvLine> parse_csv(std::string_view text, const std::string& where) { return Parser(text, where).parse(); }

}  // namespace hymba::reports
