// The collectives of a warp in the emulator: what its lanes exchange once all of them are there.
#pragma once

#include <cstdint>

namespace hymba::kernels::cuda::emulator {

enum class Kind { kUp, kDown, kXor, kIndex, kBallot, kMma, kMma3, kSync };

struct Lane {
  std::uint32_t warp_clock = 0;  // synchronisations of the warp that it has passed
  std::uint64_t value = 0;       // given, then received
  int operand = 0, width = 32;
  float* d = nullptr;  // fragments of an mma
  const float *a = nullptr, *b = nullptr;
};

// A warp collective that some of its lanes have reached.
struct Gathering {
  unsigned mask = 0, arrived = 0;
  Kind kind = Kind::kSync;
  int line = 0;
};

// Gives each of the 32 lanes in the mask its result.
void finish(const Gathering& gathering, Lane* const* lanes);

}  // namespace hymba::kernels::cuda::emulator
