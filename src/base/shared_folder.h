// The folder of evaluation data and reference results that is no part of the project.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace hymba {

// $HYMBA_SHARED, else shared/ beside the project; it may be absent.
inline std::filesystem::path shared_folder(const std::filesystem::path& project) {
  const char* given = std::getenv("HYMBA_SHARED");
  return given != nullptr ? std::filesystem::path(given) : (project / ".." / "shared").lexically_normal();
}

}  // namespace hymba
