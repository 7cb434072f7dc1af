// Arithmetic of the scan inside a warp: each lane holds a run of consecutive steps, a step is an affine map of the
// state, and maps are composed along the lanes.
#pragma once

#include "kernels/cuda/device.h"

namespace hymba::kernels::scan {

// h -> a h + b
struct Affine {
  float a = 1, b = 0;
  HYMBA_DEVICE float operator()(float h) const { return fmaf(a, h, b); }
};

// First `x`, then `y`.
HYMBA_DEVICE Affine then(const Affine& x, const Affine& y) { return {y.a * x.a, fmaf(y.a, x.b, y.b)}; }

// The composition of the maps of all lanes below (identity in lane 0).
HYMBA_DEVICE Affine maps_before(Affine own) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int d = 1; d < 32; d *= 2) {
    const Affine before{__shfl_up_sync(cuda::kAllLanes, own.a, d), __shfl_up_sync(cuda::kAllLanes, own.b, d)};
    if (lane >= d) own = then(before, own);
  }
  const Affine before{__shfl_up_sync(cuda::kAllLanes, own.a, 1), __shfl_up_sync(cuda::kAllLanes, own.b, 1)};
  return lane == 0 ? Affine() : before;
}

// The same from the last lane down: the composition of the maps of all lanes above.
HYMBA_DEVICE Affine maps_behind(Affine own) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int d = 1; d < 32; d *= 2) {
    const Affine behind{__shfl_down_sync(cuda::kAllLanes, own.a, d), __shfl_down_sync(cuda::kAllLanes, own.b, d)};
    if (lane + d < 32) own = then(behind, own);
  }
  const Affine behind{__shfl_down_sync(cuda::kAllLanes, own.a, 1), __shfl_down_sync(cuda::kAllLanes, own.b, 1)};
  return lane == 31 ? Affine() : behind;
}

// Shared tiles of [128 steps][16 columns]. The shift by one word every four rows lets the 32 lanes of a warp read one
// column at steps 4 lane + i from 32 different banks, and still lets rows be written contiguously.
constexpr int kTileFloats = 128 * 16 + 32;
HYMBA_HOST_DEVICE int tile_at(int step, int column) { return step * 16 + step / 4 + column; }

}  // namespace hymba::kernels::scan
