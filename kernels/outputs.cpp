#include "kernels/outputs.h"

#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>

namespace hymba::kernels {
namespace {

// The default allocator's blocks, a page longer, used from a place in their first page on that changes from block to block.
class StaggeredAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return c10::GetCPUAllocator()->allocate(bytes);
    auto* block = new c10::DataPtr(c10::GetCPUAllocator()->allocate(bytes + kPage));
    const std::size_t start = next_.fetch_add(kStep, std::memory_order_relaxed) % kPage;
    return {static_cast<char*>(block->get()) + start, block, [](void* p) { delete static_cast<c10::DataPtr*>(p); }, c10::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  static constexpr std::size_t kLarge = 4 << 20, kPage = 4096;
  static constexpr std::size_t kStep = 256;  // four cache lines: two that are worked on and two that are fetched
  std::atomic<std::size_t> next_{0};
};

}  // namespace

at::Tensor empty_output(at::IntArrayRef sizes, const at::TensorOptions& options) {
  if (!options.device().is_cpu()) return at::empty(sizes, options);
  static StaggeredAllocator allocator;
  at::Tensor out = at::detail::empty_generic(sizes, &allocator, c10::DispatchKeySet(c10::DispatchKey::CPU),
                                             c10::typeMetaToScalarType(options.dtype()), std::nullopt);
  if (at::globalContext().deterministicAlgorithms() && at::globalContext().deterministicFillUninitializedMemory()) {
    out.fill_(std::numeric_limits<double>::quiet_NaN());  // as at::empty() does
  }
  return out;
}

}  // namespace hymba::kernels
