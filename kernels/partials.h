// Sums of partial results in a fixed order: how the backward passes reduce over tasks without atomics.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

#include "kernels/parallel.h"

namespace hymba::kernels {

// out[i] = sum over p < count of parts[p * size + i], p rising. Runs of a fixed length: the compiler vectorises them.
template <class T>
void sum_partials(const T* parts, std::int64_t count, std::int64_t size, T* out) {
  constexpr std::int64_t kRun = 16, kGrain = 8192;
  parallel_tasks((size + kGrain - 1) / kGrain, [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t last = std::min(end * kGrain, size);
    std::int64_t i = begin * kGrain;
    for (; i + kRun <= last; i += kRun) {
      T sum[kRun] = {};
      for (std::int64_t p = 0; p < count; ++p) {
        const T* from = parts + p * size + i;
        for (std::int64_t k = 0; k < kRun; ++k) sum[k] += from[k];
      }
      for (std::int64_t k = 0; k < kRun; ++k) out[i + k] = sum[k];
    }
    for (; i < last; ++i) {
      T sum = 0;
      for (std::int64_t p = 0; p < count; ++p) sum += parts[p * size + i];
      out[i] = sum;
    }
  });
}

// A float tensor summed over its first axis (undefined stays undefined).
inline at::Tensor sum_over_first(const at::Tensor& parts) {
  if (!parts.defined()) return parts;
  if (parts.size(0) == 1) return parts.select(0, 0);
  const at::Tensor sum = at::empty(parts.sizes().slice(1), parts.options());
  sum_partials(parts.data_ptr<float>(), parts.size(0), sum.numel(), sum.data_ptr<float>());
  return sum;
}

}  // namespace hymba::kernels
