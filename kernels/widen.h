// bfloat16 storage of the training ops: tensors are widened, the float32 kernels run, results are rounded once.
// Autograd goes through the conversions, so gradients come back in the type of their tensors, and sums are float32.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

inline bool is_bfloat16(const at::Tensor& t) { return t.defined() && t.scalar_type() == at::kBFloat16; }

// float32 of a bfloat16 tensor; all others as they are, for the op's own checks.
inline at::Tensor widen(const at::Tensor& t) { return is_bfloat16(t) ? t.to(at::kFloat) : t; }

inline at::Tensor narrow(const at::Tensor& t) { return t.to(at::kBFloat16); }

}  // namespace hymba::kernels
