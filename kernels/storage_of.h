// Tensors whose elements may be stored in 16 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/storage.h"

namespace hymba::kernels {

inline bool is_half_width(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

inline Storage storage_of(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16 ? Storage::kBFloat16
         : t.scalar_type() == at::kHalf   ? Storage::kFloat16
                                          : Storage::kFloat;
}

}  // namespace hymba::kernels
