// The plug-in's table of launches: the kernels, and what the program needs of CUDA's run time besides.
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "base/error.h"
#include "kernels/cuda/launches.h"
#include "kernels/cuda/limits.h"

namespace hymba::kernels {
namespace {

void synchronize() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) fail("CUDA: {}", cudaGetErrorString(error));
}

DeviceMemory memory(bool reset_peak) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  const c10::DeviceIndex device = c10::cuda::current_device();
  DeviceMemory m;
  if (allocator::get() != nullptr && allocator::get()->initialized()) {
    allocator::emptyCache();
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    m.peak = allocator::getDeviceStats(device).allocated_bytes[kAll].peak;
    if (reset_peak) allocator::resetPeakStats(device);
  }
  std::size_t free = 0, total = 0;
  const cudaError_t error = cudaMemGetInfo(&free, &total);
  if (error != cudaSuccess) fail("CUDA: {}", cudaGetErrorString(error));
  m.free = static_cast<std::int64_t>(free), m.total = static_cast<std::int64_t>(total);
  return m;
}

}  // namespace
}  // namespace hymba::kernels

extern "C" const hymba::kernels::Launches* hymba_cuda_launches() {
  using namespace hymba::kernels;  // NOLINT
  static const Launches table = [] {
    Launches t;
    t.stream = [](int device) -> void* {
      return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
    };
    t.synchronize = synchronize, t.memory = memory, t.fma_rate = cuda::fma_rate;
    return t;
  }();
  return &table;
}
