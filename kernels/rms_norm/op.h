// Root mean square norm (Zhang and Sennrich 2019), forward and backward each in one pass over memory.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight over the last axis; any leading axes. weight [D]. float32 or (reference)
// float64.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace hymba::kernels
