// Shapes of SwiGLU's tests and benchmarks.
#pragma once

#include <cstdint>
#include <vector>

namespace hymba::kernels::gate {

inline std::vector<std::vector<std::int64_t>> test_cases() {
  return {{2, 5, 16}, {3, 14}, {2}, {64}, {2, 33, 130}, {1, 1, 4098}, {4, 0, 8}};
}

inline std::vector<std::vector<std::int64_t>> bench_cases() { return {{8, 256, 1376}, {1, 2048, 11008}}; }

}  // namespace hymba::kernels::gate
