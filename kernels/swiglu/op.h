// SwiGLU (Shazeer 2020): the gated activation of a feed-forward layer whose two projections are one matrix.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// [..., 2 F] -> [..., F]: silu(first half of the last axis) * second half. float32 or (reference) float64.
at::Tensor swiglu(const at::Tensor& gate_up);

}  // namespace hymba::kernels
