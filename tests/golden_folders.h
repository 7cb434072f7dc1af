// The checkpoints with expected results in the shared folder: found, not listed.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/shared_folder.h"

namespace hymba {

// Folders below golden/ that have config.json and the file `expected`; none where the shared folder is absent.
inline std::vector<std::string> golden_folders(const char* expected) {
  namespace fs = std::filesystem;
  std::vector<std::string> found;
  const fs::path golden = shared_folder(HYMBA_SOURCE_DIR) / "golden";
  if (!fs::is_directory(golden)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(golden)) {
    if (entry.path().filename() == "config.json" && fs::exists(entry.path().parent_path() / expected)) found.push_back(entry.path().parent_path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace hymba
