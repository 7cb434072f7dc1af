// Causal depthwise convolution over time, with the state that decoding carries; README.md beside has the equations.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace hymba::kernels {

// y_t = silu?(bias + sum over k < W of weight[k] * x_{t - (W - 1) + k}); tap W - 1 multiplies the current position.
// weight_EW is [E, W]; bias_E may be undefined; state_BSE [B, W - 1, E] holds the inputs before x (undefined: zeros).
// Returns {y_BLE, final_state_BSE = the last W - 1 inputs, those of the state included where L < W - 1}; both carry
// gradients to every input. float32: the vector kernels; float64: the reference. Rows of x may be strided.
std::tuple<at::Tensor, at::Tensor> causal_conv1d(const at::Tensor& x_BLE, const at::Tensor& weight_EW,
                                                 const at::Tensor& bias_E, const at::Tensor& state_BSE, bool silu);

// One step, in place on state_BSE (contiguous), without autograd; writes y_BE, whose rows may be strided like those of
// x_BE. float32 allocates nothing; float64 runs the reference.
void conv_update_out(const at::Tensor& y_BE, const at::Tensor& state_BSE, const at::Tensor& x_BE,
                     const at::Tensor& weight_EW, const at::Tensor& bias_E, bool silu);

// The same into a new tensor, from tensors of any strides.
at::Tensor conv_update(const at::Tensor& state_BSE, const at::Tensor& x_BE, const at::Tensor& weight_EW,
                       const at::Tensor& bias_E, bool silu);

}  // namespace hymba::kernels
