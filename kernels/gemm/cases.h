// Shapes of the product's tests and benchmarks: rows, inputs, outputs.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::gemm {

struct Case {
  std::int64_t rows, inputs, outputs;

  std::string name() const { return fmt::format("{}x{}x{}", rows, inputs, outputs); }
};

// Odd tails of rows, columns and steps on purpose: blocks are 4 to 8 rows, panels up to 64 columns, runs 128 steps; the last
// four weights are large: panels of 64, runs of 256.
inline std::vector<Case> test_cases() {
  return {{5, 16, 16}, {1, 1, 1}, {33, 7, 5}, {64, 64, 80}, {131, 130, 100}, {9, 300, 33}, {48, 128, 20}, {40, 4, 128}, {0, 8, 8}, {23, 129, 17},
          {70, 301, 470}, {13, 2100, 65}, {100, 64, 2100}, {1, 256, 513}};
}

// Projections of the quick size, then of models of 1M, 30M, 125M and 1.5B parameters.
inline std::vector<Case> bench_cases() {
  return {{1024, 64, 384},  {1024, 128, 64},  {1024, 128, 20},   {1024, 4, 128},   {1024, 64, 256},  {2048, 128, 128},
          {2048, 128, 704}, {2048, 352, 128}, {16, 512, 2816},   {64, 512, 2816},  {512, 512, 512},  {512, 512, 2816},
          {512, 1408, 512}, {512, 768, 5120}, {512, 2560, 768},  {2048, 512, 2816}, {512, 1600, 11008}};
}

}  // namespace hymba::kernels::gemm
