#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "results/record.h"

namespace hymba::cli {

// Writes page, and beside it the same as .md, .csv, .findings.md and .svg figures; returns the names of all. `notes`: what
// was missing or damaged; the page says it.
std::vector<std::string> write_report(const std::vector<Record>& records, const std::filesystem::path& page, const std::vector<std::string>& notes = {});

// All Records of results folders and files; what a reader of the report must know (a cut line, a trained model without
// Records, a folder without any) goes into `notes`.
std::vector<Record> read_results(const std::vector<std::string>& paths, std::vector<std::string>* notes);

}  // namespace hymba::cli
