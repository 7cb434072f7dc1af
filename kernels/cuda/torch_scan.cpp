// torch.ops.hymba_cuda: the scans and the convolution on CUDA tensors. Forward and backward are ops of their own, as
// the autograd functions of op.cpp want them; the schemas are those of the C++ signatures.
#include <torch/library.h>

#include "kernels/causal_conv1d/cuda.h"
#include "kernels/cuda/torch_args.h"
#include "kernels/selective_scan/cuda.h"
#include "kernels/ssd/cuda.h"

namespace hymba::kernels::cuda {
namespace {

using Tensors = std::vector<at::Tensor>;

struct Scan {
  at::Tensor u, dt, A, B, C, D, z, dt_bias, h0;
  scan::Shape shape;
  scan::Inputs<float> in;

  Scan(const char* op, const at::Tensor& u_in, const at::Tensor& dt_in, const at::Tensor& A_in, const at::Tensor& B_in,
       const at::Tensor& C_in, const Optional& D_in, const Optional& z_in, const Optional& bias, const Optional& h0_in,
       bool softplus)
      : u(with_dense_rows(u_in)),
        dt(with_dense_rows(dt_in)),
        A(A_in.contiguous()),
        B(with_dense_rows(B_in, B_in.dim() - 2)),
        C(with_dense_rows(C_in, C_in.dim() - 2)),
        D(contiguous_or_undefined(or_undefined(D_in))),
        z(with_dense_rows(or_undefined(z_in))),
        dt_bias(contiguous_or_undefined(or_undefined(bias))),
        h0(contiguous_or_undefined(or_undefined(h0_in))) {
    expect(op, "u_BLE", u, {-1, -1, -1});
    const std::int64_t b = u.size(0), l = u.size(1), e = u.size(2);
    expect(op, "dt_BLE", dt, {b, l, e}), expect(op, "A_EN", A, {e, -1});
    const std::int64_t n = A.size(1), g = B.dim() == 4 ? B.size(2) : 1;
    const std::vector<std::int64_t> rows = B.dim() == 4 ? std::vector{b, l, g, n} : std::vector{b, l, n};
    expect(op, "B_BLN", B, rows), expect(op, "C_BLN", C, rows);
    require(g >= 1 && e % g == 0, "[{}] B_BLN: expected a number of groups that divides {} channels, got {}", op, e, g);
    expect_if_defined(op, "D_E", D, {e}), expect_if_defined(op, "z_BLE", z, {b, l, e});
    expect_if_defined(op, "dt_bias_E", dt_bias, {e}), expect_if_defined(op, "h0_BEN", h0, {b, e, n});
    shape = {b, l, e, n, g, softplus};
    in = {rows_of(u),           rows_of(dt),          rows_of(z),           rows_of(B),
          rows_of(C),           data<const float>(A), data<const float>(D), data<const float>(dt_bias),
          data<const float>(h0)};
  }
  static Rows<const float> rows_of(const at::Tensor& t) { return kernels::rows<const float>(t); }
};

Tensors scan_forward(const at::Tensor& u, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B,
                     const at::Tensor& C, const Optional& D, const Optional& z, const Optional& dt_bias,
                     const Optional& h0, bool softplus) {
  const Scan s("selective_scan", u, dt, A, B, C, D, z, dt_bias, h0, softplus);
  const OnDevice stream(u);
  const at::Tensor y = like(u, {s.shape.batch, s.shape.length, s.shape.channels});
  const at::Tensor h = like(u, {s.shape.batch, s.shape.channels, s.shape.states});
  const at::Tensor states = like(u, {scan::cuda_state_floats(s.shape)});
  check_launch("selective_scan",
               scan::cuda_forward(s.shape, s.in, {rows<float>(y), data<float>(h), data<float>(states)}, stream));
  return {y, h, states};
}

// Gradients of u, dt, A, B, C, D, z, dt_bias, h0 (empty where the input is absent).
Tensors scan_backward(const at::Tensor& dy_in, const Optional& dh, const at::Tensor& states, const at::Tensor& u,
                      const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B, const at::Tensor& C,
                      const Optional& D, const Optional& z, const Optional& dt_bias, const Optional& h0,
                      bool softplus) {
  const Scan s("selective_scan", u, dt, A, B, C, D, z, dt_bias, h0, softplus);
  const OnDevice stream(u);
  const at::Tensor dy = with_dense_rows(dy_in), dh_dense = contiguous_or_undefined(or_undefined(dh));
  expect("selective_scan", "dy", dy, s.u.sizes().vec());
  const auto dense = [&](const at::Tensor& t) { return t.defined() ? like(t, t.sizes().vec()) : t; };
  Tensors g = {dense(s.u), dense(s.dt), dense(s.A),       dense(s.B), dense(s.C),
               dense(s.D), dense(s.z),  dense(s.dt_bias), dense(s.h0)};
  const at::Tensor workspace = like(u, {scan::cuda_workspace_floats(s.shape)});
  const scan::Gradients<float> grad{
      rows<const float>(dy), data<const float>(dh_dense), rows<float>(g[0]), rows<float>(g[1]),
      rows<float>(g[6]),     data<float>(g[2]),           data<float>(g[3]), data<float>(g[4]),
      data<float>(g[5]),     data<float>(g[7]),           data<float>(g[8])};
  check_launch("selective_scan",
               scan::cuda_backward(s.shape, s.in, data<const float>(states), grad, data<float>(workspace), stream));
  for (at::Tensor& t : g) t = or_empty(t, u);
  return g;
}

struct Convolution {
  at::Tensor x, weight, bias, state;
  conv::Shape shape;
  conv::Inputs<float> in;

  Convolution(const char* op, const at::Tensor& x_in, const at::Tensor& weight_in, const Optional& bias_in,
              const Optional& state_in, bool silu)
      : x(with_dense_rows(x_in)),
        weight(weight_in.contiguous()),
        bias(contiguous_or_undefined(or_undefined(bias_in))),
        state(contiguous_or_undefined(or_undefined(state_in))) {
    expect(op, "x_BLE", x, {-1, -1, -1}), expect(op, "weight_EW", weight, {x.size(2), -1});
    require(weight.size(1) >= 1, "[{}] weight_EW: expected [{}, W] with W >= 1, got {}", op, x.size(2),
            describe(weight));
    expect_if_defined(op, "bias_E", bias, {x.size(2)});
    expect_if_defined(op, "state_BSE", state, {x.size(0), weight.size(1) - 1, x.size(2)});
    shape = {x.size(0), x.size(1), x.size(2), weight.size(1), silu};
    in = {rows<const float>(x), data<const float>(weight), data<const float>(bias), data<const float>(state)};
  }
};

Tensors conv_forward(const at::Tensor& x, const at::Tensor& weight, const Optional& bias, const Optional& state,
                     bool silu) {
  const Convolution c("causal_conv1d", x, weight, bias, state, silu);
  const OnDevice stream(x);
  const at::Tensor y = like(x, x.sizes().vec()), last = like(x, {x.size(0), weight.size(1) - 1, x.size(2)});
  check_launch("causal_conv1d", conv::cuda_forward(c.shape, c.in, {rows<float>(y), data<float>(last)}, stream));
  return {y, last};
}

// Gradients of x, weight, bias, state.
Tensors conv_backward(const at::Tensor& dy_in, const Optional& dstate, const at::Tensor& x, const at::Tensor& weight,
                      const Optional& bias, const Optional& state, bool silu) {
  const Convolution c("causal_conv1d", x, weight, bias, state, silu);
  const OnDevice stream(x);
  const at::Tensor dy = with_dense_rows(dy_in), dlast = contiguous_or_undefined(or_undefined(dstate));
  expect("causal_conv1d", "dy", dy, x.sizes().vec());
  Tensors g = {like(x, x.sizes().vec()), like_if(c.weight), like_if(c.bias), like_if(c.state)};
  const at::Tensor workspace = like(x, {conv::cuda_workspace_floats(c.shape)});
  const conv::Gradients<float> grad{rows<const float>(dy), data<const float>(dlast), rows<float>(g[0]),
                                    data<float>(g[1]),     data<float>(g[2]),        data<float>(g[3])};
  check_launch("causal_conv1d", conv::cuda_backward(c.shape, c.in, grad, data<float>(workspace), stream));
  for (at::Tensor& t : g) t = or_empty(t, x);
  return g;
}

struct Ssd {
  at::Tensor x, dt, A, B, C, D, bias, h0;
  ssd_detail::Args<float> a;

  Ssd(const char* op, const at::Tensor& x_in, const at::Tensor& dt_in, const at::Tensor& A_in, const at::Tensor& B_in,
      const at::Tensor& C_in, const Optional& D_in, const Optional& bias_in, const Optional& h0_in, bool softplus,
      double dt_min, double dt_max)
      : x(with_dense_rows(x_in)),
        dt(dt_in),
        A(A_in.contiguous()),
        B(with_dense_rows(B_in)),
        C(with_dense_rows(C_in)),
        D(contiguous_or_undefined(or_undefined(D_in))),
        bias(contiguous_or_undefined(or_undefined(bias_in))),
        h0(contiguous_or_undefined(or_undefined(h0_in))) {
    expect(op, "x_BLHP", x, {-1, -1, -1, -1});
    const std::int64_t b = x.size(0), l = x.size(1), h = x.size(2), p = x.size(3);
    expect(op, "dt_BLH", dt, {b, l, h}), expect(op, "A_H", A, {h}), expect(op, "B_BLGN", B, {b, l, -1, -1});
    expect(op, "C_BLGN", C, B.sizes().vec());
    require(B.size(2) >= 1 && h % B.size(2) == 0, "[{}] B_BLGN: expected groups that divide {} heads, got {}", op, h,
            describe(B));
    expect_if_defined(op, "D_H", D, {h}), expect_if_defined(op, "dt_bias_H", bias, {h});
    expect_if_defined(op, "h0_BHPN", h0, {b, h, p, B.size(3)});
    a.B = b, a.L = l, a.H = h, a.P = p, a.G = B.size(2), a.N = B.size(3), a.softplus = softplus;
    a.dt_min = static_cast<float>(dt_min), a.dt_max = static_cast<float>(dt_max);
    a.x = rows_of(x), a.Bm = rows_of(B), a.Cm = rows_of(C);
    a.dt = {data<const float>(dt), dt.stride(0), dt.stride(1), dt.stride(2)};
    a.A = data<const float>(A), a.D = data<const float>(D), a.bias = data<const float>(bias),
    a.h0 = data<const float>(h0);
  }
  static ssd_detail::Rows<float> rows_of(const at::Tensor& t) {
    return {data<const float>(t), t.stride(0), t.stride(1), t.stride(2)};
  }
};

Tensors ssd_forward(const at::Tensor& x, const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B,
                    const at::Tensor& C, const Optional& D, const Optional& dt_bias, const Optional& h0, bool softplus,
                    double dt_min, double dt_max) {
  Ssd s("ssd", x, dt, A, B, C, D, dt_bias, h0, softplus, dt_min, dt_max);
  const OnDevice stream(x);
  const at::Tensor y = like(x, x.sizes().vec()), h = like(x, {s.a.B, s.a.H, s.a.P, s.a.N});
  const at::Tensor states = like(x, {ssd_detail::cuda_state_floats(s.a)});
  s.a.y = data<float>(y), s.a.h = data<float>(h), s.a.states = data<float>(states);
  check_launch("ssd", ssd_detail::cuda_forward(s.a, stream));
  return {y, h, states};
}

// Gradients of x, dt, A, B, C, D, dt_bias, h0.
Tensors ssd_backward(const at::Tensor& dy_in, const Optional& dh, const at::Tensor& states, const at::Tensor& x,
                     const at::Tensor& dt, const at::Tensor& A, const at::Tensor& B, const at::Tensor& C,
                     const Optional& D, const Optional& dt_bias, const Optional& h0, bool softplus, double dt_min,
                     double dt_max) {
  Ssd s("ssd", x, dt, A, B, C, D, dt_bias, h0, softplus, dt_min, dt_max);
  const OnDevice stream(x);
  const at::Tensor dy = with_dense_rows(dy_in), dh_dense = contiguous_or_undefined(or_undefined(dh));
  expect("ssd", "dy", dy, x.sizes().vec());
  Tensors g;
  for (const at::Tensor* t : {&s.x, &s.dt, &s.A, &s.B, &s.C, &s.D, &s.bias, &s.h0}) {
    g.push_back(t->defined() ? like(*t, t->sizes().vec()) : *t);
  }
  const at::Tensor workspace = like(x, {ssd_detail::cuda_workspace_floats(s.a)});
  s.a.dy = Ssd::rows_of(dy), s.a.dh = data<const float>(dh_dense), s.a.states = data<float>(states);
  s.a.dx = data<float>(g[0]), s.a.ddt = data<float>(g[1]), s.a.dA = data<float>(g[2]), s.a.dB = data<float>(g[3]);
  s.a.dC = data<float>(g[4]), s.a.dD = data<float>(g[5]), s.a.dbias = data<float>(g[6]), s.a.dh0 = data<float>(g[7]);
  check_launch("ssd", ssd_detail::cuda_backward(s.a, data<float>(workspace), stream));
  for (at::Tensor& t : g) t = or_empty(t, x);
  return g;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(hymba_cuda, m) {
  const auto cuda = [](auto function) { return torch::dispatch(c10::DispatchKey::CUDA, function); };
  m.def("selective_scan_forward", cuda(TORCH_FN(scan_forward)));
  m.def("selective_scan_backward", cuda(TORCH_FN(scan_backward)));
  m.def("causal_conv1d_forward", cuda(TORCH_FN(conv_forward)));
  m.def("causal_conv1d_backward", cuda(TORCH_FN(conv_backward)));
  m.def("ssd_forward", cuda(TORCH_FN(ssd_forward)));
  m.def("ssd_backward", cuda(TORCH_FN(ssd_backward)));
}

}  // namespace hymba::kernels::cuda
