// Shapes and options of SSD's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::ssd_detail {

struct Case {
  std::int64_t B, L, H, P, N;
  std::int64_t G = 1;
  bool D = true, bias = true, h0 = false, softplus = true;
  std::int64_t chunk = 64;
  double dt_min = 0, dt_max = 1e30;

  std::string name() const {
    return fmt::format("B{}_L{}_H{}_P{}_N{}_G{}_C{}{}{}{}{}", B, L, H, P, N, G, chunk, D ? "_D" : "",
                       bias ? "_bias" : "", h0 ? "_h0" : "", softplus ? "_softplus" : "");
  }
};

// Odd lengths, feature counts that fill no vector, chunks shorter and longer than the sequence.
inline std::vector<Case> test_cases() {
  return {
      {2, 63, 4, 8, 16, 2},
      {1, 1, 1, 1, 1},
      {2, 1, 4, 16, 8, 2, true, true, true},
      {1, 130, 3, 5, 7, 3, true, true, true},
      {2, 70, 4, 12, 20, 1, false, true, true},
      {1, 65, 2, 32, 24, 2, true, false, false},
      {1, 129, 2, 64, 64, 1, true, true, true},
      {2, 40, 6, 3, 33, 2, false, false, false, false},
      {1, 100, 2, 20, 13, 1, true, true, true, true, 17},
      {1, 37, 2, 8, 8, 1, true, true, true, true, 1},
      {1, 300, 1, 40, 128, 1, true, true, true, true, 256},
      {2, 50, 4, 8, 16, 4, true, true, true, true, 64, 0.3, 1.0},
  };
}

// Small models' training sizes, then those of Mamba-2.
inline std::vector<Case> bench_cases() {
  return {
      {8, 256, 8, 16, 16}, {16, 128, 4, 32, 16}, {8, 256, 8, 32, 64}, {1, 2048, 24, 64, 128}, {1, 8192, 24, 64, 128}};
}

}  // namespace hymba::kernels::ssd_detail
