// SwiGLU (Shazeer 2020): the gated activation of a feed-forward layer whose two projections are one matrix.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// [..., 2 F] -> [..., F]: silu(first half of the last axis) * second half. float32 or (reference) float64.
at::Tensor swiglu(const at::Tensor& gate_up);

// For decoding: y_BF from gate_up_BX, X = 2 F, whose rows may be strided; y contiguous, float32 alone. Allocates
// nothing.
void swiglu_out(const at::Tensor& y_BF, const at::Tensor& gate_up_BX);

}  // namespace hymba::kernels
