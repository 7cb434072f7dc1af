// A linear layer of many rows. B any leading axes, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// residual + x weight^T (residual undefined: x weight^T), with gradients to all three. x [..., I], weight_OI, residual
// [..., O]. float32; float64 runs the reference.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight_OI, const at::Tensor& residual = {});

// y_BO = x_BI weight_OI^T, plus what y_BO holds where `add`; no gradients. Rows may be strided, last axes are dense; the weight
// is float32, bfloat16 or float16 (widened while it is packed). round: x is rounded to bfloat16, which the weight must be, and
// sums are in float32: twice as fast where multiplies_bf16() (isa.h), the same elsewhere and no faster.
void linear_out(const at::Tensor& y_BO, const at::Tensor& x_BI, const at::Tensor& weight_OI, bool add = false, bool round = false);

// Whether a layer with a float32 weight takes these in place of the library's gemm: more than 8 rows of float32 on a CPU, unless the environment
// says HYMBA_GEMM=library.
bool prefers_own_gemm(const at::Tensor& x, const at::Tensor& weight_OI);

}  // namespace hymba::kernels
