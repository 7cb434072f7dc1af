// State-space duality: the Mamba-2 recurrence (Dao and Gu 2024, arXiv:2405.21060), chunked. See README.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <tuple>

namespace hymba::kernels {

struct SsdOptions {
  bool softplus = true;                                     // dt = softplus(dt + dt_bias), else dt + dt_bias
  double dt_min = 0;                                        // dt is then clamped from below (0: not) and above
  double dt_max = std::numeric_limits<double>::infinity();  // (transformers: time_step_limit)
  std::int64_t chunk = 64;                                  // most steps a chunk (small states: fewer)
};

// x_BLHP; dt_BLH; A_H (negative); B_BLGN and C_BLGN, head h reads group h / (H/G); D_H, dt_bias_H, h0_BHPN may be
// undefined (absent, absent, zeros). h_t = exp(dt_t A) h_{t-1} + dt_t x_t (outer) B_t; y_t = h_t C_t + D x_t.
// Returns y_BLHP and the last state h_BHPN; differentiable in every tensor, also through the last state.
// float32 runs the vector code; float64 runs the plain reference.
std::tuple<at::Tensor, at::Tensor> ssd(const at::Tensor& x_BLHP, const at::Tensor& dt_BLH, const at::Tensor& A_H,
                                       const at::Tensor& B_BLGN, const at::Tensor& C_BLGN, const at::Tensor& D_H,
                                       const at::Tensor& dt_bias_H, const at::Tensor& h0_BHPN,
                                       const SsdOptions& options = {});

// One step: updates h_BHPN in place and writes y_BHP (both contiguous); rows of the rest as above. Not differentiable.
void ssd_state_update_out(const at::Tensor& y_BHP, const at::Tensor& h_BHPN, const at::Tensor& x_BHP,
                          const at::Tensor& dt_BH, const at::Tensor& A_H, const at::Tensor& B_BGN,
                          const at::Tensor& C_BGN, const at::Tensor& D_H, const at::Tensor& dt_bias_H,
                          const SsdOptions& options = {});

// The same into a new tensor.
at::Tensor ssd_state_update(const at::Tensor& h_BHPN, const at::Tensor& x_BHP, const at::Tensor& dt_BH,
                            const at::Tensor& A_H, const at::Tensor& B_BGN, const at::Tensor& C_BGN,
                            const at::Tensor& D_H, const at::Tensor& dt_bias_H, const SsdOptions& options = {});

}  // namespace hymba::kernels
