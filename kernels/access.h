// From tensors to what the kernels take: pointers and Rows; undefined tensors become null.
#pragma once

#include <ATen/core/Tensor.h>

#include <type_traits>

#include "kernels/rows.h"

namespace hymba::kernels {

template <class T>
T* data(const at::Tensor& t) {
  return t.defined() ? t.data_ptr<std::remove_const_t<T>>() : nullptr;
}

// The last axis (or axes) of `t` must lie contiguous: see with_dense_rows in check.h.
template <class T>
Rows<T> rows(const at::Tensor& t) {
  if (!t.defined()) return {};
  return {data<T>(t), t.stride(0), t.stride(1)};
}

}  // namespace hymba::kernels
