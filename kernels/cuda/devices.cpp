// The plug-in's word on the machine's GPUs: what plugin.cpp asks for.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>

extern "C" int hymba_cuda_devices(char* text, int size) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    std::snprintf(text, static_cast<std::size_t>(size), "%s",
                  error == cudaSuccess ? "no device" : cudaGetErrorString(error));
    return 0;
  }
  std::string names;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp device;
    if (cudaGetDeviceProperties(&device, i) != cudaSuccess) continue;
    names += (names.empty() ? "" : ", ") + std::string(device.name) + " (sm_" + std::to_string(device.major) +
             std::to_string(device.minor) + ", " + std::to_string(device.totalGlobalMem >> 30) + " GiB)";
  }
  std::snprintf(text, static_cast<std::size_t>(size), "%s", names.c_str());
  return count;
}
