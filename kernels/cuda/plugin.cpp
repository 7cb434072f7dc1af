#include "kernels/cuda/plugin.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#ifndef HYMBA_CUDA_LIBRARY
#define HYMBA_CUDA_LIBRARY ""
#endif
#ifndef HYMBA_CUDA_MISSING
#define HYMBA_CUDA_MISSING "there was no nvcc when this build was configured"
#endif

namespace hymba::kernels {
namespace {

// Exported by the library: writes the devices' names, or why there are none; returns their number.
using Devices = int (*)(char* text, int size);

CudaStatus look() {
  const char* given = std::getenv("HYMBA_CUDA_PLUGIN");
  const std::string path = given != nullptr ? given : HYMBA_CUDA_LIBRARY;
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) {
    return {false, false,
            fmt::format("no CUDA kernels: {}", given != nullptr ? path + " (HYMBA_CUDA_PLUGIN) is not there"
                                                                : std::string(HYMBA_CUDA_MISSING))};
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {false, false, fmt::format("{} does not load: {}", path, dlerror())};
  const auto devices = reinterpret_cast<Devices>(dlsym(library, "hymba_cuda_devices"));
  if (devices == nullptr) return {false, false, fmt::format("{} is not a library of hymba's CUDA kernels", path)};
  char text[512] = "";
  const int count = devices(text, sizeof text);
  if (count <= 0)
    return {true, false, fmt::format("CUDA kernels are built, but there is no GPU to run them: {}", text)};
  return {true, true, fmt::format("CUDA kernels on {}", text)};
}

}  // namespace

const CudaStatus& cuda_status() {
  static const CudaStatus status = look();
  return status;
}

}  // namespace hymba::kernels
