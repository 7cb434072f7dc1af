// Shapes and options of window attention's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::window_attention_detail {

struct Case {
  std::int64_t B, L, H, K, P, V;
  std::int64_t window = -1, prefix = 0;

  std::string name() const { return fmt::format("B{}_L{}_H{}_K{}_P{}_V{}_W{}_M{}", B, L, H, K, P, V, window, prefix); }
};

// Odd lengths, feature counts that fill no vector, windows at the edges of the length, one row, one task cut in chunks,
// rows 1 KiB apart.
inline std::vector<Case> test_cases() {
  return {
      {2, 37, 4, 2, 8, 16, 9, 5},   {1, 1, 1, 1, 4, 4},           {2, 1, 6, 2, 8, 8, 3, 1},
      {1, 33, 3, 1, 5, 13},         {2, 32, 2, 2, 8, 8, 31},      {2, 32, 2, 2, 8, 8, 32},
      {2, 32, 2, 2, 8, 8, 33},      {1, 70, 5, 5, 16, 32, 16, 8}, {1, 131, 2, 1, 64, 128, 40, 7},
      {3, 65, 4, 4, 8, 24, 1},      {1, 40, 6, 3, 12, 20, 7, 60}, {1, 530, 1, 1, 8, 8, 64, 3},
      {1, 300, 1, 1, 33, 3, -1, 2}, {2, 129, 4, 1, 128, 64, 100}, {1, 96, 2, 2, 1, 1, 24, 16},
      {1, 300, 4, 4, 64, 64},       {1, 457, 4, 4, 64, 64, 290, 17},  {1, 290, 6, 2, 128, 40, 270, 9},
  };
}

// Training sizes first (P small), then Hymba's own shape.
inline std::vector<Case> bench_cases() {
  return {
      {8, 256, 8, 4, 8, 16, 32, 8},    {8, 256, 8, 4, 8, 16},
      {16, 128, 4, 4, 16, 32, 64, 16}, {32, 128, 16, 16, 8, 8, 16},
      {8, 512, 4, 2, 16, 32, 64, 16},  {1, 2048, 25, 5, 64, 128, 1024, 128},
      {1, 2048, 25, 5, 64, 128},       {1, 8192, 25, 5, 64, 128, 1024, 128},
      {1, 4096, 8, 8, 64, 64},
  };
}

}  // namespace hymba::kernels::window_attention_detail
