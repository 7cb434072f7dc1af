// Sums of the blocks' partial results in a fixed order: no atomics, so two runs are equal bit for bit.
#pragma once

#include "kernels/cuda/device.h"

namespace hymba::kernels::cuda {

// out[i] = sum over p < count of parts[p * size + i], p rising. Lanes lie along i: coalesced.
template <int kThreads>  // a template, so that every library of an op may hold it
HYMBA_KERNEL(kThreads, 4) sum_parts_kernel(const float* parts_in, std::int64_t count, std::int64_t size, float* out_in) {
  const Global<const float> parts = parts_in;
  const Global<float> out = out_in;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= size) return;
  float sum = 0;
  for (std::int64_t p = 0; p < count; ++p) sum += parts[p * size + i];
  out[i] = sum;
}

inline const char* sum_parts(const float* parts, std::int64_t count, std::int64_t size, float* out, Stream stream) {
  if (!out || size == 0) return nullptr;
  return launch(sum_parts_kernel<256>, dim3(static_cast<unsigned>((size + 255) / 256)), 256, 0, stream, parts, count, size,
                out);
}

}  // namespace hymba::kernels::cuda
