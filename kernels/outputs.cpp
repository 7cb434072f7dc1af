#include "kernels/outputs.h"

#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace hymba::kernels {
namespace {

constexpr std::size_t kLarge = 512 << 10, kPage = 4096;
constexpr std::size_t kStep = 256;  // four cache lines: two that are worked on and two that are fetched

struct Block {
  c10::DataPtr memory;  // of the default allocator, a page more than `bytes`
  std::size_t bytes;
};
using BlockPtr = std::unique_ptr<Block>;

// Freed blocks, the latest last: what was used last is in the caches. Nobody waits for another: where the list is held (in a forked process
// perhaps for ever) blocks come from the default allocator, and go back to it.
class FreedBlocks {
 public:
  BlockPtr take(std::size_t bytes) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    for (auto i = blocks_.rbegin(); i != blocks_.rend(); ++i) {
      if ((*i)->bytes != bytes) continue;
      BlockPtr block = std::move(*i);
      blocks_.erase(std::next(i).base());
      held_ -= bytes;
      return block;
    }
    return nullptr;
  }

  void give(BlockPtr block) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || block->bytes > most_) return;
    held_ += block->bytes;
    blocks_.push_back(std::move(block));
    shrink();
  }

  std::size_t bound(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    std::swap(bytes, most_);
    shrink();
    return bytes;
  }

 private:
  void shrink() {
    auto kept = blocks_.begin();
    for (; held_ > most_; ++kept) held_ -= (*kept)->bytes;
    blocks_.erase(blocks_.begin(), kept);
  }

  std::mutex mutex_;
  std::vector<BlockPtr> blocks_;
#ifdef __SANITIZE_ADDRESS__
  std::size_t most_ = 0;  // or use after free would go unseen
#else
  std::size_t most_ = kKeptOutputs;
#endif
  std::size_t held_ = 0;
};

// Never destroyed: tensors may outlive everything static.
FreedBlocks& freed_blocks() {
  static auto& blocks = *new FreedBlocks;
  return blocks;
}

class OutputAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return c10::GetCPUAllocator()->allocate(bytes);
    BlockPtr block = freed_blocks().take(bytes);
    if (!block) block = std::make_unique<Block>(Block{c10::GetCPUAllocator()->allocate(bytes + kPage), bytes});
    char* start = static_cast<char*>(block->memory.get()) + next_.fetch_add(kStep, std::memory_order_relaxed) % kPage;
    return {start, block.release(), [](void* p) { freed_blocks().give(BlockPtr(static_cast<Block*>(p))); }, c10::kCPU};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  std::atomic<std::size_t> next_{0};
};

}  // namespace

std::size_t keep_freed_outputs(std::size_t bytes) { return freed_blocks().bound(bytes); }

at::Tensor empty_output(at::IntArrayRef sizes, const at::TensorOptions& options) {
  if (!options.device().is_cpu()) return at::empty(sizes, options);
  static OutputAllocator allocator;
  at::Tensor out = at::detail::empty_generic(sizes, &allocator, c10::DispatchKeySet(c10::DispatchKey::CPU),
                                             c10::typeMetaToScalarType(options.dtype()), std::nullopt);
  if (at::globalContext().deterministicAlgorithms() && at::globalContext().deterministicFillUninitializedMemory()) {
    out.fill_(std::numeric_limits<double>::quiet_NaN());  // as at::empty() does
  }
  return out;
}

}  // namespace hymba::kernels
