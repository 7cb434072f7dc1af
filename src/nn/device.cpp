#include "nn/device.h"

#include "base/memory.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"

namespace hymba {
namespace {

at::Device current = at::kCPU;

// The table's functions speak of the current device.
kernels::DeviceMemory memory_of(const at::Device& device, bool reset_peak) {
  const c10::DeviceGuard guard(device);
  return kernels::device_launches()->memory(reset_peak);
}

}  // namespace

void set_model_device(const at::Device& device) {
  require(kernels::has_kernels(device), "device {}: there are no kernels for it", device.str());
  current = device;
}
at::Device model_device() { return current; }

std::int64_t free_memory(const at::Device& device) {
  return device.is_cpu() ? available_memory() : memory_of(device, false).free;
}
std::int64_t peak_memory(const at::Device& device) {
  return device.is_cpu() ? peak_rss() : memory_of(device, false).peak;
}
void reset_peak_memory(const at::Device& device) {
  if (device.is_cpu()) return reset_peak_rss();
  memory_of(device, true);
}

void synchronize(const at::Device& device) {
  if (device.is_cpu()) return;
  const c10::DeviceGuard guard(device);
  kernels::device_launches()->synchronize();
}

}  // namespace hymba
