// What the fuzz targets share. A target reads bytes as one kind of file: it may refuse them with an Error of ours, and do
// nothing else that is not allowed. Seeds are small valid files that the target makes itself.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"

// Each target defines these two.
void read_fuzzed(const std::string& bytes);
std::vector<std::string> make_seeds();

namespace hymba::fuzz {

inline const std::filesystem::path& scratch() {
  static const std::filesystem::path folder = [] {
    const std::filesystem::path memory = "/dev/shm";  // no disk
    const auto base = std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    const auto path = base / ("hymba-fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
    static const struct Remover {
      std::filesystem::path path;
      ~Remover() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
      }
    } remover{path};
    return path;
  }();
  return folder;
}

inline std::filesystem::path write_scratch(const std::string& name, const std::string& bytes) {
  const auto path = scratch() / name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

}  // namespace hymba::fuzz

// With HYMBA_FUZZ_SEEDS=DIR the seeds are written there first.
extern "C" __attribute__((used)) inline int LLVMFuzzerInitialize(int*, char***) {
  const char* folder = std::getenv("HYMBA_FUZZ_SEEDS");
  if (folder == nullptr) return 0;
  int number = 0;
  for (const auto& seed : make_seeds())
    std::ofstream(std::filesystem::path(folder) / ("seed-" + std::to_string(number++)), std::ios::binary) << seed;
  return 0;
}

extern "C" __attribute__((used)) inline int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    read_fuzzed(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const hymba::Error&) {  // refused, with words
  }
  return 0;
}
