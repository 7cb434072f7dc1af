// Shapes and options of the causal convolution's tests and benchmarks.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hymba::kernels::conv {

struct Case {
  std::int64_t B, L, E, W;
  bool bias = true, state = false, silu = true;

  std::string name() const {
    return fmt::format("B{}_L{}_E{}_W{}{}{}{}", B, L, E, W, bias ? "_bias" : "", state ? "_state" : "",
                       silu ? "_silu" : "");
  }
};

// Tiles are 8 steps, blocks 64 channels, of which 8 are taken together; lengths below W - 1 too.
inline std::vector<Case> test_cases() {
  return {
      {2, 63, 8, 4},
      {1, 1, 1, 4, true, true},
      {2, 2, 70, 4, true, true},
      {1, 130, 33, 4},
      {3, 66, 20, 3, false, true},
      {2, 129, 130, 4, true, true, false}, {2, 27, 530, 4, true, true},
      {1, 5, 17, 1},
      {2, 7, 5, 9, true, true},
      {1, 40, 64, 2, false, false, false},
      {1, 65, 3, 4, true, true},
  };
}

inline std::vector<Case> bench_cases() { return {{8, 256, 256, 4}, {1, 2048, 2048, 4}, {1, 8192, 2048, 4}}; }

}  // namespace hymba::kernels::conv
