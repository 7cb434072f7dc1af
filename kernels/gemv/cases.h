// Shapes of gemv's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::gemv_detail {

struct Case {
  std::int64_t B, O, I;

  std::string name() const { return fmt::format("B{}_O{}_I{}", B, O, I); }
};

// Tails of lanes, of row blocks and of the batch; one task and several.
inline std::vector<Case> test_cases() {
  return {{1, 1, 1},   {1, 33, 16}, {1, 70, 129}, {2, 31, 7},  {3, 40, 64}, {4, 65, 33},
          {5, 17, 48}, {6, 9, 100}, {7, 96, 20},  {8, 64, 96}, {9, 12, 5},  {1, 300, 1000}};
}

// Hymba's projections at 125M and 1.5B parameters (hidden 512 and 1600), and beyond the last cache.
inline std::vector<Case> bench_cases() {
  return {{1, 3328, 512}, {1, 11008, 1600}, {8, 11008, 1600}, {1, 32001, 1600}, {4, 32001, 1600}, {8, 32001, 1600}};
}

}  // namespace hymba::kernels::gemv_detail
