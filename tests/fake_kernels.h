#pragma once

#include <cstddef>

namespace hymba::testing {

// Memory that the emulated kernels may touch, besides what their launches are given.
void register_memory(const void* data, std::size_t bytes);

}  // namespace hymba::testing
