// What LibTorch's CPU allocator holds, for benchmarks and tests of memory: installed by a c10::DebugInfoGuard.
#pragma once

#include <c10/core/Allocator.h>

#include <algorithm>
#include <cstdint>

namespace hymba::kernels {

class HeldMemory : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
    bytes_ += bytes;
    peak_ = std::max(peak_, bytes_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  // Since it was installed: bytes taken less those given back, now and at most.
  std::int64_t bytes() const { return bytes_; }
  std::int64_t peak() const { return peak_; }

 private:
  std::int64_t bytes_ = 0, peak_ = 0;
};

}  // namespace hymba::kernels
