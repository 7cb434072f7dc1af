#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "results/record.h"

namespace hymba::cli {

// Writes page, and beside it the same as .md, .csv and two .svg figures; returns the names of all.
std::vector<std::string> write_report(const std::vector<Record>& records, const std::filesystem::path& page);

}  // namespace hymba::cli
