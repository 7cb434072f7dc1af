// The ops as torch.ops.hymba.*, for Python programs with the same version of torch: docs/python.md. Each is a
// composite of differentiable functions, so that autograd works through it without further registration.
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "kernels/causal_conv1d/op.h"
#include "kernels/check.h"
#include "kernels/decode_attention/op.h"
#include "kernels/gemm/op.h"
#include "kernels/outputs.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "kernels/selective_scan/op.h"
#include "kernels/ssd/op.h"
#include "kernels/swiglu/op.h"
#include "kernels/window_attention/op.h"

namespace hymba::kernels {
namespace {

using Optional = std::optional<at::Tensor>;
using Pair = std::tuple<at::Tensor, at::Tensor>;

at::Tensor value(const Optional& t) { return t.value_or(at::Tensor()); }

Pair py_scan(const at::Tensor& u, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B, const at::Tensor& C,
             const Optional& D, const Optional& z, const Optional& dt_bias, const Optional& h0, bool softplus) {
  return selective_scan(u, dt, A, B, C, value(D), value(z), value(dt_bias), value(h0), {softplus});
}

at::Tensor py_scan_step(at::Tensor h, const at::Tensor& u, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B,
                        const at::Tensor& C, const Optional& D, const Optional& z, const Optional& dt_bias, bool softplus) {
  return selective_state_update(h, u, dt, A, B, C, value(D), value(z), value(dt_bias), {softplus});
}

Pair py_conv(const at::Tensor& x, const at::Tensor& weight, const Optional& bias, const Optional& state, bool silu) {
  return causal_conv1d(x, weight, value(bias), value(state), silu);
}

at::Tensor py_conv_step(at::Tensor state, const at::Tensor& x, const at::Tensor& weight, const Optional& bias, bool silu) {
  return conv_update(state, x, weight, value(bias), silu);
}

at::Tensor py_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t window,
                        std::int64_t prefix, std::int64_t q_start, std::int64_t key_gap, double scale) {
  return window_attention(q, k, v, {window, prefix, q_start, key_gap, scale});
}

at::Tensor py_decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& lengths,
                               std::int64_t window, std::int64_t prefix, double scale) {
  return decode_attention(q, k, v, lengths, {window, prefix, scale});
}

SsdOptions ssd_options(bool softplus, double dt_min, std::optional<double> dt_max) {
  SsdOptions options;
  options.softplus = softplus, options.dt_min = dt_min;
  if (dt_max) options.dt_max = *dt_max;
  return options;
}

Pair py_ssd(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B, const at::Tensor& C,
            const Optional& D, const Optional& dt_bias, const Optional& h0, bool softplus, double dt_min,
            std::optional<double> dt_max) {
  return ssd(x, dt, A, B, C, value(D), value(dt_bias), value(h0), ssd_options(softplus, dt_min, dt_max));
}

at::Tensor py_ssd_step(at::Tensor h, const at::Tensor& x, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B,
                       const at::Tensor& C, const Optional& D, const Optional& dt_bias, bool softplus, double dt_min,
                       std::optional<double> dt_max) {
  return ssd_state_update(h, x, dt, A, B, C, value(D), value(dt_bias), ssd_options(softplus, dt_min, dt_max));
}

at::Tensor py_rope(const at::Tensor& x, std::int64_t pos0, double base) { return rope(x, pos0, base); }

at::Tensor py_linear(const at::Tensor& x, const at::Tensor& weight, const Optional& residual) {
  return linear(x, weight, value(residual));
}

std::int64_t py_keep_freed_outputs(std::int64_t bytes) {
  require(bytes >= 0, "[keep_freed_outputs] bytes: expected 0 or more, got {}", bytes);
  return static_cast<std::int64_t>(keep_freed_outputs(static_cast<std::size_t>(bytes)));
}

TORCH_LIBRARY(hymba, m) {
  m.def("selective_scan(Tensor u_BLE, Tensor dt_BLE, Tensor A_EN, Tensor B_BLN, Tensor C_BLN, Tensor? D_E=None, "
        "Tensor? z_BLE=None, Tensor? dt_bias_E=None, Tensor? h0_BEN=None, bool softplus=True) -> (Tensor, Tensor)", py_scan);
  m.def("selective_state_update(Tensor(a!) h_BEN, Tensor u_BE, Tensor dt_BE, Tensor A_EN, Tensor B_BN, Tensor C_BN, "
        "Tensor? D_E=None, Tensor? z_BE=None, Tensor? dt_bias_E=None, bool softplus=True) -> Tensor", py_scan_step);
  m.def("causal_conv1d(Tensor x_BLE, Tensor weight_EW, Tensor? bias_E=None, Tensor? state_BSE=None, bool silu=True) "
        "-> (Tensor, Tensor)", py_conv);
  m.def("conv_update(Tensor(a!) state_BSE, Tensor x_BE, Tensor weight_EW, Tensor? bias_E=None, bool silu=True) -> Tensor",
        py_conv_step);
  m.def("window_attention(Tensor q_BLHP, Tensor k_BSKP, Tensor v_BSKV, int window=-1, int prefix=0, int q_start=-1, "
        "int key_gap=0, float scale=0) -> Tensor", py_attention);
  m.def("decode_attention(Tensor q_BHP, Tensor k_BSKP, Tensor v_BSKV, Tensor lengths_B, int window=-1, int prefix=0, "
        "float scale=0) -> Tensor", py_decode_attention);
  m.def("ssd(Tensor x_BLHP, Tensor dt_BLH, Tensor A_H, Tensor B_BLGN, Tensor C_BLGN, Tensor? D_H=None, Tensor? dt_bias_H=None, "
        "Tensor? h0_BHPN=None, bool softplus=True, float dt_min=0, float? dt_max=None) -> (Tensor, Tensor)", py_ssd);
  m.def("ssd_state_update(Tensor(a!) h_BHPN, Tensor x_BHP, Tensor dt_BH, Tensor A_H, Tensor B_BGN, Tensor C_BGN, "
        "Tensor? D_H=None, Tensor? dt_bias_H=None, bool softplus=True, float dt_min=0, float? dt_max=None) -> Tensor", py_ssd_step);
  m.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", rms_norm);
  m.def("swiglu(Tensor gate_up) -> Tensor", swiglu);
  m.def("rope(Tensor x_BLHP, int pos0=0, float base=10000.0) -> Tensor", py_rope);
  m.def("linear(Tensor x, Tensor weight_OI, Tensor? residual=None) -> Tensor", py_linear);
  m.def("keep_freed_outputs(int bytes) -> int", py_keep_freed_outputs);
}

}  // namespace
}  // namespace hymba::kernels
