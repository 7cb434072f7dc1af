// Runs of 1 or 4 neighbouring floats: one access of 4 or 16 bytes.
#pragma once

#include "kernels/cuda/device.h"

namespace hymba::kernels::cuda {

template <int Width>
struct Floats {
  float v[Width] = {};
};

template <int Width>
HYMBA_DEVICE Floats<Width> load(const Global<const float>& p) {
  Floats<Width> x;
  if constexpr (Width == 4) {
    const float4 four = load4(p);
    x.v[0] = four.x, x.v[1] = four.y, x.v[2] = four.z, x.v[3] = four.w;
  } else {
    x.v[0] = p[0];
  }
  return x;
}

template <int Width>
HYMBA_DEVICE void store(const Global<float>& p, const Floats<Width>& x) {
  if constexpr (Width == 4) {
    store4(p, make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
  } else {
    p[0] = x.v[0];
  }
}

// Whether rows at these strides can be read 16 bytes at a time.
inline bool fits16(const void* p, std::int64_t stride = 0, std::int64_t outer = 0) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0 && stride % 4 == 0 && outer % 4 == 0;
}

}  // namespace hymba::kernels::cuda
