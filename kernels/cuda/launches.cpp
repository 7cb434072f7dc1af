#include "kernels/cuda/launches.h"

#include "kernels/check.h"

namespace hymba::kernels {
namespace {

const Launches* loaded = nullptr;

}  // namespace

const Launches* device_launches() { return loaded; }
void set_device_launches(const Launches* launches) { loaded = launches; }

bool has_kernels(const c10::Device& device) {
  return device.is_cpu() || (loaded != nullptr && loaded->device == device.type());
}

}  // namespace hymba::kernels
