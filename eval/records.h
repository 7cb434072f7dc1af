// Records: the rows of a task's data file as JSON objects, whatever the file's format.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hymba::eval {

struct RecordRow {
  nlohmann::json fields;  // "_file" (the file's name without extension) is added to what the file has
  std::string where;      // "file:line" or "file: article 3", for messages
};

// By extension:
//   .jsonl        one object a line
//   .csv          a header line, quoted fields may hold commas and line ends; all values are text
//   .json         SQuAD JSON, flattened to {title, context, id, question, answers: [text ...]}, else JSON lines
//   .txt .raw     as `text_format` says: "blocks:6" = {line0 ... line5} of each 6 lines; "articles" = {page} of each
//                 WikiText article, cut as the harness' document-level set was; "whole" = {page} is all of the file
// UserError "file:line: expected ..., found ..." for a broken row, and for a file without rows.
std::vector<RecordRow> read_rows(const std::filesystem::path& file, const std::string& text_format);

// Files below `folder` that match a relative pattern; "*" stands for any characters within one name. Name order.
std::vector<std::filesystem::path> match_files(const std::filesystem::path& folder, const std::string& pattern);

}  // namespace hymba::eval
