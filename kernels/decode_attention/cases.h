// Shapes and options of decode attention's tests and benchmarks.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::decode_detail {

struct Case {
  std::int64_t S, H, K, P, V;
  std::vector<std::int64_t> lengths;
  std::int64_t window = -1, prefix = 0;

  std::int64_t batch() const { return static_cast<std::int64_t>(lengths.size()); }
  std::string name() const {
    return fmt::format("S{}_H{}_K{}_P{}_V{}_W{}_M{}_L{}", S, H, K, P, V, window, prefix, fmt::join(lengths, ","));
  }
};

// Rings before, at and far behind their first round, rings larger than the window, ragged batches, odd sizes, splits.
inline std::vector<Case> test_cases() {
  return {
      {40, 4, 2, 8, 16, {1, 40, 17}},
      {14, 4, 2, 8, 16, {3, 5, 13, 14, 15, 99, 0}, 9, 5},
      {20, 3, 1, 5, 13, {7, 21, 400}, 9, 5},
      {8, 5, 5, 16, 8, {30}, 8},
      {1, 1, 1, 1, 1, {1}},
      {9, 6, 3, 33, 3, {500, 2}, 1, 8},
      {700, 25, 5, 64, 128, {690}},
      {1153, 10, 2, 64, 128, {5000, 40, 1153}, 1025, 128},
      {2100, 7, 1, 12, 20, {2100}},
      {530, 4, 4, 9, 9, {2000}, 520, 4},
      {3000, 8, 1, 8, 8, {2900, 100}},
      {6, 2, 1, 4, 4, {3, 6}, 100, 6},
  };
}

// Hymba-1.5B's window and full layers, and a batch of its window layers.
inline std::vector<Case> bench_cases() {
  return {{1152, 25, 5, 64, 128, {8000}, 1024, 128},
          {8192, 25, 5, 64, 128, {8192}},
          {1152, 25, 5, 64, 128, {8000, 8000, 8000, 8000, 8000, 8000, 8000, 8000}, 1024, 128},
          {8192, 16, 16, 64, 64, {8192, 8192, 8192, 8192}},
          {8192, 16, 4, 72, 72, {8192, 8192, 8192, 8192}}};  // row 10 of the roadmap: no whole vectors
}

}  // namespace hymba::kernels::decode_detail
