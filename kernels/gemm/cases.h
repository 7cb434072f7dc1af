// Shapes of the product's tests and benchmarks: rows, inputs, outputs.
#pragma once

#include <cstdint>
#include <vector>

namespace hymba::kernels::gemm {

struct Case {
  std::int64_t rows, inputs, outputs;
};

// Odd tails of rows, columns and steps on purpose: blocks are 4 to 8 rows, panels up to 64 columns, runs 128 steps.
inline std::vector<Case> test_cases() {
  return {{5, 16, 16}, {1, 1, 1}, {33, 7, 5}, {64, 64, 80}, {131, 130, 100}, {9, 300, 33}, {48, 128, 20}, {40, 4, 128}, {0, 8, 8}, {23, 129, 17}};
}

inline std::vector<Case> bench_cases() { return {{1024, 64, 384}, {1024, 128, 64}, {1024, 128, 20}, {1024, 4, 128}, {1024, 64, 256}}; }

}  // namespace hymba::kernels::gemm
