// torch.ops.hymba_cuda: attention, RoPE, RMS norm, SwiGLU and the steps of decoding on CUDA tensors.
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>

#include "kernels/causal_conv1d/cuda.h"
#include "kernels/cuda/torch_args.h"
#include "kernels/decode_attention/cuda.h"
#include "kernels/rms_norm/cuda.h"
#include "kernels/rope/cuda.h"
#include "kernels/selective_scan/cuda.h"
#include "kernels/ssd/cuda.h"
#include "kernels/swiglu/cuda.h"
#include "kernels/window_attention/cuda.h"

namespace hymba::kernels::cuda {
namespace {

using Tensors = std::vector<at::Tensor>;

window_attention_detail::Rows<const float> heads(const at::Tensor& t) {
  return {data<const float>(t), t.stride(0), t.stride(1), t.stride(2)};
}

window_attention_detail::Args<float> attention_args(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                    std::int64_t window, std::int64_t prefix, std::int64_t q_start,
                                                    std::int64_t key_gap, double scale) {
  const char* op = "window_attention";
  expect(op, "q_BLHP", q, {-1, -1, -1, -1}), expect(op, "k_BSKP", k, {q.size(0), -1, -1, q.size(3)});
  expect(op, "v_BSKV", v, {q.size(0), k.size(1), k.size(2), -1});
  require(k.size(2) > 0 && q.size(2) % k.size(2) == 0 && q.size(3) > 0,
          "[{}] q_BLHP: expected heads that are a multiple of the {} KV heads, got {}", op, k.size(2), describe(q));
  require((window == -1 || window > 0) && prefix >= 0 && key_gap >= 0 && q_start >= -1 && scale >= 0,
          "[{}] window, prefix, key_gap, q_start, scale: expected -1 or > 0, >= 0, >= 0, >= -1, >= 0, got {}, {}, {}, "
          "{}, {}",
          op, window, prefix, key_gap, q_start, scale);
  window_attention_detail::Args<float> a;
  a.B = q.size(0), a.L = q.size(1), a.H = q.size(2), a.P = q.size(3), a.S = k.size(1), a.K = k.size(2), a.V = v.size(3);
  a.window = window, a.prefix = prefix, a.key_gap = key_gap;
  a.q_start = q_start >= 0 ? q_start : a.key_position(a.S - 1) - a.L + 1;
  require(a.q_start >= 0, "[{}] q_start: expected at least as many keys as queries where -1, got L={} S={}", op, a.L,
          a.S);
  constexpr std::int64_t kMost = std::int64_t{1} << 29;  // positions plus a window, and rows, stay within int32
  require(a.S + key_gap < kMost && a.q_start + a.L < kMost && window < kMost && a.L * (a.H / a.K) < kMost,
          "[{}] q_BLHP, q_start, key_gap, window: expected rows and positions below 2^29", op);
  a.scale = static_cast<float>(scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(a.P)));
  a.q = heads(q), a.k = heads(k), a.v = heads(v);
  return a;
}

// o [B, L, H, Vd] and lse [B, H, L] (base 2).
Tensors attention_forward(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in, std::int64_t window,
                          std::int64_t prefix, std::int64_t q_start, std::int64_t key_gap, double scale) {
  const at::Tensor q = with_dense_rows(q_in), k = with_dense_rows(k_in), v = with_dense_rows(v_in);
  auto a = attention_args(q, k, v, window, prefix, q_start, key_gap, scale);
  const OnDevice stream(q);
  const at::Tensor o = like(q, {a.B, a.L, a.H, a.V}), lse = like(q, {a.B, a.H, a.L});
  a.out = data<float>(o), a.lse = data<float>(lse);
  check_launch("window_attention", window_attention_detail::cuda_forward(a, stream));
  return {o, lse};
}

Tensors attention_backward(const at::Tensor& do_in, const at::Tensor& q_in, const at::Tensor& k_in,
                           const at::Tensor& v_in, const at::Tensor& o, const at::Tensor& lse, std::int64_t window,
                           std::int64_t prefix, std::int64_t q_start, std::int64_t key_gap, double scale) {
  const at::Tensor q = with_dense_rows(q_in), k = with_dense_rows(k_in), v = with_dense_rows(v_in),
                   d_o = with_dense_rows(do_in);
  auto a = attention_args(q, k, v, window, prefix, q_start, key_gap, scale);
  expect("window_attention", "do", d_o, {a.B, a.L, a.H, a.V}), expect("window_attention", "o", o, {a.B, a.L, a.H, a.V});
  const OnDevice stream(q);
  const Tensors g = {like(q, q.sizes().vec()), like(k, k.sizes().vec()), like(v, v.sizes().vec())};
  const at::Tensor workspace = like(q, {a.B * a.H * a.L});
  a.o = heads(o), a.d_o = heads(d_o), a.lse = data<float>(lse);
  a.dq = data<float>(g[0]), a.dk = data<float>(g[1]), a.dv = data<float>(g[2]);
  check_launch("window_attention", window_attention_detail::cuda_backward(a, data<float>(workspace), stream));
  return g;
}

// k and v: float32, bfloat16 or float16, both the same; lengths int64 [B] on the device.
at::Tensor decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& lengths,
                  std::int64_t window, std::int64_t prefix, double scale) {
  const char* op = "decode_attention";
  expect(op, "q_BHP", q, {-1, -1, -1});
  const auto type = k.scalar_type();
  require(k.is_cuda() && v.is_cuda() && k.dim() == 4 && v.dim() == 4 && v.scalar_type() == type &&
              k.size(3) == q.size(2) && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf) &&
              k.stride(3) == 1 && v.stride(3) == 1 && v.size(1) == k.size(1) && v.size(2) == k.size(2) &&
              k.size(2) > 0 && q.size(1) % k.size(2) == 0,
          "[{}] k_BSKP, v_BSKV: expected cuda [B, S, K, P] and [B, S, K, Vd] in float32, bfloat16 or float16, got {} "
          "and {}",
          op, describe(k), describe(v));
  require(lengths.is_cuda() && lengths.scalar_type() == at::kLong && lengths.numel() == q.size(0) &&
              lengths.is_contiguous(),
          "[{}] lengths_B: expected cuda int64 [{}], got {}", op, q.size(0), describe(lengths));
  require(q.stride(2) == 1 && prefix >= 0 && prefix <= k.size(1) && (window == -1 || window > 0),
          "[{}] q_BHP, prefix, window: expected dense rows, 0 ... {} and -1 or > 0, got prefix {}, window {}", op,
          k.size(1), prefix, window);
  decode_detail::CudaArgs a;
  a.B = q.size(0), a.H = q.size(1), a.P = q.size(2), a.S = k.size(1), a.K = k.size(2), a.V = v.size(3);
  a.window = window, a.prefix = prefix;
  a.scale = static_cast<float>(scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(a.P)));
  a.type = type == at::kFloat      ? decode_detail::CacheType::kFloat
           : type == at::kBFloat16 ? decode_detail::CacheType::kBfloat16
                                   : decode_detail::CacheType::kHalf;
  a.q = data<const float>(q), a.k = k.const_data_ptr(), a.v = v.const_data_ptr(), a.q_batch = q.stride(0),
  a.q_head = q.stride(1);
  a.k_batch = k.stride(0), a.k_slot = k.stride(1), a.k_head = k.stride(2);
  a.v_batch = v.stride(0), a.v_slot = v.stride(1), a.v_head = v.stride(2);
  const OnDevice stream(q);
  const at::Tensor out = like(q, {a.B, a.H, a.V}), workspace = like(q, {decode_detail::cuda_workspace_floats(a)});
  a.lengths = lengths.const_data_ptr<std::int64_t>(), a.out = data<float>(out);
  check_launch(op, decode_detail::cuda_run(a, data<float>(workspace), stream));
  return out;
}

// The step ops change the state in place and return y.
at::Tensor conv_step(const at::Tensor& state, const at::Tensor& x, const at::Tensor& weight_in, const Optional& bias_in,
                     bool silu) {
  const char* op = "conv_update";
  const at::Tensor weight = weight_in.contiguous(), bias = contiguous_or_undefined(or_undefined(bias_in)),
                   rows = with_dense_rows(x);
  expect(op, "x_BE", rows, {-1, -1}), expect(op, "weight_EW", weight, {x.size(1), -1});
  expect(op, "state_BSE", state, {x.size(0), weight.size(1) - 1, x.size(1)}),
      expect_if_defined(op, "bias_E", bias, {x.size(1)});
  require(state.is_contiguous(), "[{}] state_BSE: expected a contiguous tensor", op);
  const OnDevice stream(x);
  const at::Tensor y = like(x, x.sizes().vec());
  const conv::Shape s{x.size(0), 1, x.size(1), weight.size(1), silu};
  const conv::Inputs<float> in{{data<const float>(rows), rows.stride(0), 0},
                               data<const float>(weight),
                               data<const float>(bias),
                               data<const float>(state)};
  check_launch(op, conv::cuda_step(s, in, {{data<float>(y), x.size(1), 0}, data<float>(state)}, stream));
  return y;
}

at::Tensor scan_step(const at::Tensor& h, const at::Tensor& u_in, const at::Tensor& dt_in, const at::Tensor& A_in,
                     const at::Tensor& B_in, const at::Tensor& C_in, const Optional& D_in, const Optional& z_in,
                     const Optional& bias_in, bool softplus) {
  const char* op = "selective_state_update";
  const at::Tensor u = u_in.contiguous(), dt = dt_in.contiguous(), A = A_in.contiguous(), B = B_in.contiguous(),
                   C = C_in.contiguous();
  const at::Tensor D = contiguous_or_undefined(or_undefined(D_in)), z = contiguous_or_undefined(or_undefined(z_in));
  const at::Tensor bias = contiguous_or_undefined(or_undefined(bias_in));
  expect(op, "u_BE", u, {-1, -1}), expect(op, "A_EN", A, {u.size(1), -1});
  const std::int64_t b = u.size(0), e = u.size(1), n = A.size(1), g = B.dim() == 3 ? B.size(1) : 1;
  expect(op, "h_BEN", h, {b, e, n}), expect(op, "dt_BE", dt, {b, e});
  require(h.is_contiguous() && g >= 1 && e % g == 0 && B.sizes() == C.sizes() && B.numel() == b * g * n && C.is_cuda(),
          "[{}] h_BEN, B_BN, C_BN: expected a contiguous state and [B, N] or [B, G, N], got {} and {}", op, describe(B),
          describe(C));
  expect_if_defined(op, "D_E", D, {e}), expect_if_defined(op, "z_BE", z, {b, e}),
      expect_if_defined(op, "dt_bias_E", bias, {e});
  const OnDevice stream(u);
  const at::Tensor y = like(u, {b, e});
  const auto row = [](const at::Tensor& t, std::int64_t width) {
    return Rows<const float>{data<const float>(t), width, 0};
  };
  const scan::Inputs<float> in{row(u, e),
                               row(dt, e),
                               row(z, e),
                               row(B, g * n),
                               row(C, g * n),
                               data<const float>(A),
                               data<const float>(D),
                               data<const float>(bias),
                               data<const float>(h)};
  check_launch(
      op, scan::cuda_step({b, 1, e, n, g, softplus}, in, {{data<float>(y), e, 0}, data<float>(h), nullptr}, stream));
  return y;
}

at::Tensor turn(const at::Tensor& x_in, const at::Tensor& table, bool inverse) {
  const at::Tensor x = with_dense_rows(x_in);
  expect("rope", "x_BLHP", x, {-1, -1, -1, -1}), expect("rope", "table", table, {x.size(1), 2, x.size(3) / 2});
  require(x.size(3) % 2 == 0 && table.is_contiguous(), "[rope] x_BLHP: expected an even P, got {}", describe(x));
  const OnDevice stream(x);
  const at::Tensor out = like(x, x.sizes().vec());
  rope_detail::Args<float> a{x.size(0), x.size(1), x.size(2), x.size(3), 0};
  a.x = data<const float>(x), a.sb = x.stride(0), a.sl = x.stride(1), a.sh = x.stride(2), a.out = data<float>(out),
  a.inverse = inverse;
  check_launch("rope", rope_detail::cuda_run(a, data<const float>(table), nullptr, stream));
  return out;
}

Tensors norm_forward(const at::Tensor& x, const at::Tensor& weight_in, double eps) {
  const at::Tensor rows = as_matrix(x), weight = weight_in.contiguous();
  expect("rms_norm", "x", rows, {-1, -1}), expect("rms_norm", "weight", weight, {x.size(-1)});
  const OnDevice stream(x);
  const at::Tensor y = like(x, x.sizes().vec()), rstd = like(x, {rows.size(0)});
  check_launch("rms_norm",
               norm::cuda_forward({rows.size(0), rows.size(1), rows.stride(0), eps}, data<const float>(rows),
                                  data<const float>(weight), data<float>(y), data<float>(rstd), stream));
  return {y, rstd};
}

Tensors norm_backward(const at::Tensor& dy_in, const at::Tensor& x, const at::Tensor& weight_in, const at::Tensor& rstd,
                      double eps) {
  const at::Tensor rows = as_matrix(x), weight = weight_in.contiguous(), dy = dy_in.contiguous();
  expect("rms_norm", "x", rows, {-1, -1}), expect("rms_norm", "weight", weight, {x.size(-1)});
  expect("rms_norm", "dy", dy, x.sizes().vec()), expect("rms_norm", "rstd", rstd, {rows.size(0)});
  const OnDevice stream(x);
  const norm::Shape s{rows.size(0), rows.size(1), rows.stride(0), eps};
  const Tensors g = {like(x, x.sizes().vec()), like(x, {x.size(-1)})};
  const at::Tensor workspace = like(x, {norm::cuda_workspace_floats(s)});
  check_launch("rms_norm", norm::cuda_backward(s, data<const float>(rows), data<const float>(weight),
                                               data<const float>(rstd), data<const float>(dy), data<float>(g[0]),
                                               data<float>(g[1]), data<float>(workspace), stream));
  return g;
}

at::Tensor gate_forward(const at::Tensor& x) {
  const at::Tensor rows = as_matrix(x);
  expect("swiglu", "gate_up", rows, {-1, -1});
  require(rows.size(1) % 2 == 0, "[swiglu] gate_up: expected an even width, got {}", describe(x));
  const OnDevice stream(x);
  auto sizes = x.sizes().vec();
  sizes.back() /= 2;
  const at::Tensor y = like(x, sizes);
  check_launch("swiglu", gate::cuda_forward({rows.size(0), rows.size(1) / 2, rows.stride(0)}, data<const float>(rows),
                                            data<float>(y), stream));
  return y;
}

at::Tensor gate_backward(const at::Tensor& dy_in, const at::Tensor& x) {
  const at::Tensor rows = as_matrix(x), dy = dy_in.contiguous();
  expect("swiglu", "gate_up", rows, {-1, -1});
  require(2 * dy.numel() == x.numel() && dy.is_cuda(), "[swiglu] dy: expected half of gate_up, got {}",
          describe(dy_in));
  const OnDevice stream(x);
  const at::Tensor dx = like(x, x.sizes().vec());
  check_launch("swiglu", gate::cuda_backward({rows.size(0), rows.size(1) / 2, rows.stride(0)}, data<const float>(rows),
                                             data<const float>(dy), data<float>(dx), stream));
  return dx;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hymba_cuda, m) {
  const auto cuda = [](auto function) { return torch::dispatch(c10::DispatchKey::CUDA, function); };
  m.def("window_attention_forward", cuda(TORCH_FN(attention_forward)));
  m.def("window_attention_backward", cuda(TORCH_FN(attention_backward)));
  m.def("decode_attention", cuda(TORCH_FN(decode)));
  m.def("conv_update", cuda(TORCH_FN(conv_step)));
  m.def("selective_state_update", cuda(TORCH_FN(scan_step)));
  m.def("rope", cuda(TORCH_FN(turn)));
  m.def("rms_norm_forward", cuda(TORCH_FN(norm_forward)));
  m.def("rms_norm_backward", cuda(TORCH_FN(norm_backward)));
  m.def("swiglu_forward", cuda(TORCH_FN(gate_forward)));
  m.def("swiglu_backward", cuda(TORCH_FN(gate_backward)));
}

}  // namespace hymba::kernels::cuda
