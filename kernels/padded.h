#pragma once

#include <cstdint>

namespace hymba::kernels {

// Row length of matrices whose lanes run over features: a power of two up to 16, then a multiple of 16.
inline std::int64_t padded(std::int64_t n) { return n <= 4 ? 4 : n <= 8 ? 8 : (n + 15) / 16 * 16; }

}  // namespace hymba::kernels
