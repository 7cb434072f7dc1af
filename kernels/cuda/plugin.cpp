#include "kernels/cuda/plugin.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "kernels/cuda/launches.h"

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

std::string plugin_path() {
  const char* given = std::getenv("HYMBA_CUDA_PLUGIN");
  return given != nullptr ? given : HYMBA_CUDA_LIBRARY;
}

// The library with CUDA's operators: nothing links against it, so it is opened with its symbols for all. It registers
// itself with the rest of LibTorch.
void load_libtorch_cuda() {
  constexpr const char* kName = "libtorch_cuda.so";
  std::string tried;
  const auto open = [&](const std::string& path) {
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
    const char* error = dlerror();
    tried += (tried.empty() ? "" : "; ") + std::string(error != nullptr ? error : "?");
    return false;
  };
  const char* given = std::getenv("HYMBA_LIBTORCH_CUDA");
  if (given != nullptr) {
    if (open(given)) return;
  } else {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info) != 0 && info.dli_fname != nullptr) {
      const auto beside = std::filesystem::path(info.dli_fname).parent_path() / kName;
      std::error_code ignored;
      if (std::filesystem::exists(beside, ignored) && open(beside.string())) return;
    }
    if (open(kName)) return;
  }
  user_error("LibTorch's CUDA half does not load: {}. Point HYMBA_LIBTORCH_CUDA to libtorch_cuda.so of PyTorch {}, and "
             "LD_LIBRARY_PATH to it and to the nvidia wheels' lib folders", tried, "2.11 for CUDA 13");
}

CudaStatus look() {
  const char* given = std::getenv("HYMBA_CUDA_PLUGIN");
  const std::string path = plugin_path();
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) {
    return {false, false, "",
            fmt::format("no CUDA kernels: {}", given != nullptr ? path + " (HYMBA_CUDA_PLUGIN) is not there"
                                                                : std::string(HYMBA_CUDA_MISSING))};
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {false, false, "", fmt::format("{} does not load: {}", path, dlerror())};
  const auto devices = reinterpret_cast<Devices>(dlsym(library, "hymba_cuda_devices"));
  if (devices == nullptr) return {false, false, "", fmt::format("{} is not a library of hymba's CUDA kernels", path)};
  char text[512] = "";
  const int count = devices(text, sizeof text);
  if (count <= 0)
    return {true, false, "", fmt::format("CUDA kernels are built, but there is no GPU to run them: {}", text)};
  return {true, true, text, fmt::format("CUDA kernels on {}", text)};
}

}  // namespace

void load_cuda() {
  if (device_launches() != nullptr) return;
  const CudaStatus& status = cuda_status();
  require(status.usable, "{}", status.text);
  load_libtorch_cuda();
  require(at::globalContext().hasCUDA(), "{}, but this LibTorch sees none: was it built for CUDA?", status.text);
  using Table = const Launches* (*)();
  void* library = dlopen(plugin_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto table = library == nullptr ? nullptr : reinterpret_cast<Table>(dlsym(library, "hymba_cuda_launches"));
  require(table != nullptr && table()->bytes == sizeof(Launches),
          "{} is of another version than this program; build both together (ninja hymba hymba_cuda)", plugin_path());
  set_device_launches(table());
}

const CudaStatus& cuda_status() {
  static const CudaStatus status = look();
  return status;
}

}  // namespace hymba::kernels
