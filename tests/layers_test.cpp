// Reads the sources and pages of the project: every #include against tests/layers.txt, every test, every link.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <sstream>
#include <utility>

#include "base/files.h"
#include "base/text.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = HYMBA_SOURCE_DIR;

std::map<std::string, int> levels() {
  std::map<std::string, int> result;
  for (const auto& line : split(read_file(kRoot / "tests" / "layers.txt"), '\n')) {
    std::istringstream words(line);
    int level = 0;
    std::string folder;
    if (line.rfind('#', 0) != 0 && words >> level >> folder) result[folder] = level;
  }
  return result;
}

// The layer folder that a path relative to the root lies in, or "".
std::string layer_of(const std::string& path, const std::map<std::string, int>& levels) {
  for (const auto& [folder, level] : levels) {
    if (path.rfind(folder + "/", 0) == 0) return folder;
  }
  return "";
}

TEST(Layers, FoldersIncludeOnlyLowerOnes) {
  const auto order = levels();
  ASSERT_GE(order.size(), 10u);
  const std::regex include("#include \"([^\"]+)\"");
  int checked = 0;
  for (const auto& [folder, level] : order) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const auto extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h") continue;
      const auto file = fs::relative(entry.path(), kRoot).string();
      if (layer_of(file, order) != folder) continue;
      const auto text = read_file(entry.path());
      for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
        const std::string name = (*it)[1];
        // Includes are relative to the root or to src/.
        std::string target = layer_of(name, order);
        if (target.empty()) target = layer_of("src/" + name, order);
        if (target.empty() || target == folder) continue;
        ++checked;
        EXPECT_LT(order.at(target), level) << file << " (" << folder << ", level " << level << ") includes " << name << " ("
                                           << target << ", level " << order.at(target) << ")";
      }
    }
  }
  EXPECT_GT(checked, 50);
}

TEST(Layers, EverySourceFolderHasALevel) {
  const auto order = levels();
  for (const char* top : {"src", "kernels", "eval", "reports", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
      if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h") continue;
      const auto file = fs::relative(entry.path(), kRoot).string();
      EXPECT_NE(layer_of(file, order), "") << file;
    }
  }
}

// A test that no CMakeLists.txt names is never built, and nobody would miss it.
TEST(Layers, EveryTestIsBuilt) {
  std::string lists;
  std::vector<std::string> tests;
  for (const char* top : {"src", "kernels", "eval", "reports", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
      const auto name = entry.path().filename().string();
      if (name == "CMakeLists.txt") lists += read_file(entry.path()) + "\n";
      if (name.ends_with("_test.cpp")) tests.push_back(name);
    }
  }
  EXPECT_GT(tests.size(), 20u);
  for (const auto& name : tests) EXPECT_NE(lists.find(name), std::string::npos) << name << " is in no CMakeLists.txt";
}

// Pages that the documentation shows or names must be there: links and pictures beside the page, scripts of tests/.
TEST(Documentation, LinksLeadSomewhere) {
  const std::regex link("\\]\\(([^)#:]+)(#[^)]*)?\\)"), script("`(tests/[A-Za-z0-9_/]+\\.(py|sh))");
  int checked = 0;
  const auto check = [&](const fs::path& page) {
    const auto text = read_file(page);
    for (const auto& [pattern, base] : {std::pair(link, page.parent_path()), std::pair(script, kRoot)}) {
      for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it, ++checked) {
        EXPECT_TRUE(fs::exists(base / (*it)[1].str())) << fs::relative(page, kRoot) << " names " << (*it)[1].str();
      }
    }
  };
  check(kRoot / "README.md");
  for (const char* top : {"docs", "src", "ablations", "kernels", "eval", "reports", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
      if (entry.path().extension() == ".md") check(entry.path());
    }
  }
  EXPECT_GT(checked, 20);
}

}  // namespace
}  // namespace hymba
