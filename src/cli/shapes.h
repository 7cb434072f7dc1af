// Ratio, parameters and cache of designs at the paper's shapes: counted, nothing is trained or measured.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/context.h"

namespace hymba::cli {

// Appends Records of study "shapes" for the designs that FILE has none of yet. A design that has no size `paper` is left out
// with a line in the log.
void write_shapes(const std::filesystem::path& file, const std::vector<std::string>& specs, const Invocation& invocation);

}  // namespace hymba::cli
