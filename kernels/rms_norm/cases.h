// Shapes of the RMS norm's tests and benchmarks.
#pragma once

#include <cstdint>
#include <vector>

namespace hymba::kernels::norm {

struct Case {
  std::vector<std::int64_t> sizes;
  double eps = 1e-6;
};

inline std::vector<Case> test_cases() {
  return {{{2, 5, 16}}, {{3, 7}, 1e-2}, {{1}}, {{64}}, {{2, 65, 130}}, {{3, 50, 2, 33}}, {{1, 1, 4099}}, {{4, 0, 8}}};
}

inline std::vector<Case> bench_cases() { return {{{8, 256, 256}}, {{8, 256, 1024}}, {{1, 2048, 2048}}}; }

}  // namespace hymba::kernels::norm
