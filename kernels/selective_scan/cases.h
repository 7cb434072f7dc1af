// Shapes and options of the selective scan's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::scan {

struct Case {
  std::int64_t B, L, E, N;
  std::int64_t G = 1;
  bool D = true, z = true, bias = true, h0 = false, softplus = true;

  std::string name() const {
    return fmt::format("B{}_L{}_E{}_N{}_G{}{}{}{}{}{}", B, L, E, N, G, D ? "_D" : "", z ? "_z" : "",
                       bias ? "_bias" : "", h0 ? "_h0" : "", softplus ? "_softplus" : "");
  }
};

// Odd lengths and tails on purpose: tiles are 32 steps, chunks 32 channels, vectors 4 to 16 floats.
inline std::vector<Case> test_cases() {
  return {
      {2, 63, 8, 4},
      {1, 1, 1, 1},
      {2, 1, 40, 16, 1, true, true, true, true},
      {1, 130, 33, 16},
      {3, 33, 20, 5, 1, true, true, true, true},
      {1, 64, 64, 8, 1, true, false, true},
      {2, 31, 70, 3, 1, false, true, false, true},
      {1, 40, 17, 4, 1, false, false, false, false, false},
      {1, 37, 12, 7, 1, true, true, true, true, false},
      {2, 45, 96, 16, 2, true, true, true, true},
      {1, 34, 51, 2, 3, true, true, true},
      {1, 35, 5, 64, 1, true, true, true, true},
      {1, 3, 3, 256},
      {8, 70, 130, 4},
  };
}

// Training sizes, then those of docs' tables of the scan.
inline std::vector<Case> bench_cases() {
  return {{8, 128, 128, 16},   {16, 256, 128, 8},  {8, 256, 256, 16},  {4, 512, 1024, 16},
          {1, 2048, 2048, 16}, {1, 4096, 128, 16}, {1, 16384, 128, 16}};
}

}  // namespace hymba::kernels::scan
