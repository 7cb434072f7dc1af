// Rotary position embedding, rotate-half form (Su et al. 2021, arXiv:2104.09864). See README.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace hymba::kernels {

// x_BLHP; the row l is at position pos0 + l; feature j < P/2 turns with feature j + P/2 by the angle
// position * base^(-2j/P). Differentiable in x. float32 or float64; the result is contiguous.
at::Tensor rope(const at::Tensor& x_BLHP, std::int64_t pos0, double base);

// The same with P/2 explicit inverse frequencies: the angle is position * inv_freq[j].
at::Tensor rope(const at::Tensor& x_BLHP, std::int64_t pos0, const std::vector<double>& inv_freq);

}  // namespace hymba::kernels
