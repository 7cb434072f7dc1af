// A linear layer for a few rows at once (decoding): the weight is read once, at the speed of memory. README.md beside.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// y_BO = x_BI weight_OI^T, plus what y_BO holds where `add`. x and y float32, weight float32, bfloat16 or float16; sums
// in float32. Any batch; up to 8 rows cost one pass over the weight. Rows may be strided, the last axes are dense.
// Allocates nothing, keeps no graph.
void gemv_out(const at::Tensor& y_BO, const at::Tensor& x_BI, const at::Tensor& weight_OI, bool add = false);

// The same into a new tensor. float64 runs the plain reference.
at::Tensor gemv(const at::Tensor& x_BI, const at::Tensor& weight_OI);

}  // namespace hymba::kernels
