// A linear layer of a small model. B any leading axes, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// residual + x weight^T (residual undefined: x weight^T), with gradients to all three. x [..., I], weight_OI, residual
// [..., O]. float32; float64 runs the reference.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight_OI, const at::Tensor& residual = {});

// Whether a model's layer takes `linear` in place of the library's gemm: for weights that stay in the L2 cache, unless
// the environment says HYMBA_GEMM=library.
bool prefers_small_gemm(const at::Tensor& x, const at::Tensor& weight_OI);

}  // namespace hymba::kernels
