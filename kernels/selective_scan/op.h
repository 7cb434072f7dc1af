// Selective scan (Mamba, Gu and Dao 2023, equation 2 discretised as in section 3.6); README.md beside has the
// equations. B batch, L tokens, E inner channels, N states, G groups.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace hymba::kernels {

struct SelectiveScanOptions {
  bool softplus = true;  // dt = softplus(dt + dt_bias); false: dt + dt_bias as it is
};

// h = exp(dt * A) * h + dt * u * B;  y = (h . C + D * u) * silu(z). Returns {y_BLE, h_BEN, the state after L steps};
// both carry gradients to every input. D_E, z_BLE, dt_bias_E, h0_BEN may be undefined. A_EN is negative (-exp(A_log)).
// B and C are [B, L, N] or [B, L, G, N] with E % G == 0: channel e reads group e / (E / G).
// float32: the vector kernels; float64: the reference. Rows may be strided (slices of a wider projection).
std::tuple<at::Tensor, at::Tensor> selective_scan(const at::Tensor& u_BLE, const at::Tensor& dt_BLE,
                                                  const at::Tensor& A_EN, const at::Tensor& B_BLN,
                                                  const at::Tensor& C_BLN, const at::Tensor& D_E,
                                                  const at::Tensor& z_BLE, const at::Tensor& dt_bias_E,
                                                  const at::Tensor& h0_BEN, SelectiveScanOptions options = {});

// One decoding step, in place on h_BEN (contiguous), without autograd; writes y_BE. float32 allocates nothing. The last
// axes must be dense (B and C: [B, N] or [B, G, N]); float64 runs the reference.
void selective_state_update_out(const at::Tensor& y_BE, const at::Tensor& h_BEN, const at::Tensor& u_BE,
                                const at::Tensor& dt_BE, const at::Tensor& A_EN, const at::Tensor& B_BN,
                                const at::Tensor& C_BN, const at::Tensor& D_E, const at::Tensor& z_BE,
                                const at::Tensor& dt_bias_E, SelectiveScanOptions options = {});

// The same into a new tensor, from tensors of any strides.
at::Tensor selective_state_update(const at::Tensor& h_BEN, const at::Tensor& u_BE, const at::Tensor& dt_BE,
                                  const at::Tensor& A_EN, const at::Tensor& B_BN, const at::Tensor& C_BN,
                                  const at::Tensor& D_E, const at::Tensor& z_BE, const at::Tensor& dt_bias_E,
                                  SelectiveScanOptions options = {});

}  // namespace hymba::kernels
