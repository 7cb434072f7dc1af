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

// For decoding: x_BHP, the row of sequence b at position lengths_B[b] - 1 (int64: how many positions it has now).
// Writes out_BHP, contiguous; float32, the last two axes of x dense. Allocates nothing once the angles are known. On a
// GPU lengths are not read back: `most` is at least the largest.
void rope_step_out(const at::Tensor& out_BHP, const at::Tensor& x_BHP, const at::Tensor& lengths_B,
                   const std::vector<double>& inv_freq, std::int64_t most);

// Frequencies of a base: base^(-2j/P) for j < P/2.
std::vector<double> rope_frequencies(double base, std::int64_t dim);

}  // namespace hymba::kernels
