#include "eval/records.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/utf8.h"

namespace hymba::eval {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

std::vector<RecordRow> read_json_lines(const fs::path& file, const std::string& text) {
  std::vector<RecordRow> rows;
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string one = trim(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    ++line;
    if (one.empty()) continue;
    const std::string where = fmt::format("{}:{}", file.string(), line);
    json record;
    try {
      record = json::parse(one);
    } catch (const json::exception& e) {
      user_error("{}: expected one JSON object a line, found broken JSON ({})", where, e.what());
    }
    require(record.is_object(), "{}: expected a JSON object, found {}", where, record.type_name());
    rows.push_back({std::move(record), where});
  }
  return rows;
}

// RFC 4180: "" inside quotes is one quote; quoted fields may span lines.
std::vector<RecordRow> read_csv(const fs::path& file, const std::string& text) {
  std::vector<RecordRow> rows;
  std::vector<std::string> header, fields(1);
  std::size_t line = 1, row_line = 1;
  bool quoted = false;
  auto end_row = [&] {
    const std::string where = fmt::format("{}:{}", file.string(), row_line);
    const bool blank = fields.size() == 1 && fields[0].empty();
    if (!blank && header.empty()) {
      header = fields;
    } else if (!blank) {
      require(fields.size() == header.size(), "{}: expected {} fields as in the header, found {}", where, header.size(),
              fields.size());
      RecordRow row{json::object(), where};
      for (std::size_t i = 0; i < header.size(); ++i) row.fields[header[i]] = fields[i];
      rows.push_back(std::move(row));
    }
    fields.assign(1, "");
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        fields.back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      end_row();
      row_line = line;
    } else if (c != '\r') {
      fields.back() += c;
    }
  }
  require(!quoted, "{}:{}: expected a closing quote before the end of the file, found none", file.string(), row_line);
  end_row();
  return rows;
}

const json& member(const json& object, const char* key, json::value_t type, const std::string& where) {
  const auto it = object.find(key);
  require(it != object.end() && it->type() == type, "{}: expected SQuAD JSON with \"{}\", found {}", where, key,
          it == object.end() ? "none" : it->type_name());
  return *it;
}

// One row a question; the paragraph is repeated in each.
std::vector<RecordRow> flatten_squad(const fs::path& file, const json& root) {
  using Type = json::value_t;
  std::vector<RecordRow> rows;
  std::size_t article = 0;
  const std::string name = file.string();
  for (const auto& entry : member(root, "data", Type::array, name)) {
    const std::string where = fmt::format("{}: article {}", name, ++article);
    for (const auto& paragraph : member(entry, "paragraphs", Type::array, where)) {
      for (const auto& question : member(paragraph, "qas", Type::array, where)) {
        json texts = json::array();
        for (const auto& answer : member(question, "answers", Type::array, where)) {
          texts.push_back(member(answer, "text", Type::string, where));
        }
        if (texts.empty()) continue;  // SQuAD 2 questions without an answer
        json fields = {{"title", entry.value("title", "")},
                       {"context", member(paragraph, "context", Type::string, where)},
                       {"question", member(question, "question", Type::string, where)},
                       {"answers", std::move(texts)}};
        if (question.contains("id")) fields["id"] = question["id"];
        rows.push_back({std::move(fields), where});
      }
    }
  }
  return rows;
}

std::vector<RecordRow> read_blocks(const fs::path& file, const std::vector<std::string>& lines, std::int64_t size) {
  require(lines.size() % static_cast<std::size_t>(size) == 0, "{}:{}: expected blocks of {} lines, found a last block of "
          "{}", file.string(), lines.size(), size, lines.size() % static_cast<std::size_t>(size));
  std::vector<RecordRow> rows;
  for (std::size_t i = 0; i < lines.size(); i += static_cast<std::size_t>(size)) {
    RecordRow row{json::object(), fmt::format("{}:{}", file.string(), i + 1)};
    for (std::size_t j = 0; j < static_cast<std::size_t>(size); ++j) row.fields[fmt::format("line{}", j)] = lines[i + j];
    rows.push_back(std::move(row));
  }
  return rows;
}

// An article begins at a line " = Title = "; the lines keep their spaces, as in the document-level set on the hub.
std::vector<RecordRow> read_articles(const fs::path& file, const std::vector<std::string>& lines) {
  std::vector<RecordRow> rows;
  std::vector<std::string> article;
  std::size_t begin = 1;
  auto finish = [&](std::size_t next) {
    std::string page = join(article, "\n");
    const std::string where = fmt::format("{}:{}", file.string(), begin);
    if (!strip(page).empty()) rows.push_back({{{"page", std::move(page)}}, where});
    article.clear();
    begin = next;
  };
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string title(strip(replace_all(replace_all(lines[i], "= = =", "==="), "= =", "==")));
    if (title.starts_with("= ") && title.ends_with(" =")) finish(i + 1);
    article.push_back(lines[i]);
  }
  finish(0);
  return rows;
}

std::vector<RecordRow> read_text(const fs::path& file, const std::string& text, const std::string& format) {
  std::vector<std::string> lines = split(text, '\n');
  for (auto& line : lines) {
    if (line.ends_with('\r')) line.pop_back();
  }
  if (format == "whole") return {{{{"page", text}}, file.string()}};
  if (format == "articles") return read_articles(file, lines);
  require(format.starts_with("blocks:"), "{}: expected text_format = blocks:N, articles or whole for a text file, found "
          "'{}'", file.string(), format);
  const auto size = parse_int(format.substr(7), "text_format = " + format);
  require(size > 0, "text_format = {}: expected at least one line a block", format);
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return read_blocks(file, lines, size);
}

// Does a file name match a pattern with "*"?
bool matches(std::string_view name, std::string_view pattern) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (std::size_t i = 0; i <= name.size(); ++i) {
      if (matches(name.substr(i), pattern.substr(1))) return true;
    }
    return false;
  }
  return !name.empty() && name[0] == pattern[0] && matches(name.substr(1), pattern.substr(1));
}

}  // namespace

std::vector<RecordRow> read_rows(const fs::path& file, const std::string& text_format) {
  std::string text = read_file(file);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);  // byte order mark
  const Utf8Errors errors = find_utf8_errors(text);
  require(errors.count == 0, "{}: expected UTF-8 text, found {} malformed bytes, the first at offset {}", file.string(),
          errors.count, errors.first);
  const std::string extension = file.extension().string();
  std::vector<RecordRow> rows;
  // The extension decides; of .json it takes a look inside, since some JSON-lines files are called so.
  if (extension == ".csv") {
    rows = read_csv(file, text);
  } else if (extension == ".json") {
    const json root = json::parse(text, nullptr, false);
    rows = root.is_object() && root.contains("data") ? flatten_squad(file, root) : read_json_lines(file, text);
  } else if (extension == ".jsonl") {
    rows = read_json_lines(file, text);
  } else {
    rows = read_text(file, text, text_format);
  }
  require(!rows.empty(), "{}: expected at least one record, found {}", file.string(),
          text.empty() ? "an empty file" : "none");
  for (auto& row : rows) row.fields["_file"] = file.stem().string();
  return rows;
}

std::vector<fs::path> match_files(const fs::path& folder, const std::string& pattern) {
  std::vector<fs::path> found = {folder};
  for (const auto& name : split(pattern, '/')) {
    std::vector<fs::path> next;
    for (const auto& base : found) {
      if (name.find('*') == std::string::npos) {
        if (fs::exists(base / name)) next.push_back(base / name);
      } else if (fs::is_directory(base)) {
        for (const auto& entry : fs::directory_iterator(base)) {
          if (matches(entry.path().filename().string(), name)) next.push_back(entry.path());
        }
      }
    }
    found = std::move(next);
  }
  std::erase_if(found, [](const fs::path& path) { return !fs::is_regular_file(path); });
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace hymba::eval
