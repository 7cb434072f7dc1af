// Root mean square norm (Zhang and Sennrich 2019), forward and backward each in one pass over memory.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight over the last axis; any leading axes. weight [D]. float32 or (reference)
// float64.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

struct RmsNormOutOptions {
  float scale = 1;
  bool add = false;  // y += instead of y =
};

// y_BO = scale * rms_norm(x_BI repeated along its axis to O, weight_O): O is a multiple of I. For decoding: rows may be
// strided, the last axes are dense, float32 alone; allocates nothing, keeps no graph.
void rms_norm_out(const at::Tensor& y_BO, const at::Tensor& x_BI, const at::Tensor& weight_O, double eps,
                  const RmsNormOutOptions& options = {});

}  // namespace hymba::kernels
