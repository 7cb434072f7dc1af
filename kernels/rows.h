// Rows of a tensor whose axes before the last may be strided: how the kernels read slices of wider projections.
#pragma once

#include <cstdint>

namespace hymba::kernels {

// [B, L, *] with unit inner stride: row t of batch b is data + b * batch_stride + t * row_stride. Null: absent.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t batch_stride = 0, row_stride = 0;
  T* row(std::int64_t b, std::int64_t t) const { return data + b * batch_stride + t * row_stride; }
};

}  // namespace hymba::kernels
