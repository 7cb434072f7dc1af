// Shapes of RoPE's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::rope_detail {

struct Case {
  std::int64_t B, L, H, P, pos0 = 0;
  std::string name() const { return fmt::format("B{}_L{}_H{}_P{}_pos{}", B, L, H, P, pos0); }
};

inline std::vector<Case> test_cases() {
  return {{2, 17, 3, 8},    {1, 1, 1, 2, 5},     {2, 9, 2, 64, 100},
          {1, 5, 4, 10, 3}, {1, 3, 2, 72, 5000}, {1, 2, 1, 46, 3000000}};
}

inline std::vector<Case> bench_cases() { return {{8, 256, 8, 8}, {16, 128, 4, 16}, {1, 2048, 25, 64}}; }

}  // namespace hymba::kernels::rope_detail
