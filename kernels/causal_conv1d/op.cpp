#include "kernels/causal_conv1d/op.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "kernels/access.h"
#include "kernels/causal_conv1d/kernel.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/partials.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Arguments {
  at::Tensor x, weight, bias, state;
};

std::int64_t task_grain(const conv::Shape& s) {
  return grain_for(0.5 * static_cast<double>(s.length / s.spans * conv::kBlock));
}

// Few sequences and channels: time is cut too, by the shape alone, so that the sums do not depend on the threads.
std::int64_t span_count(const conv::Shape& s) {
  constexpr std::int64_t kTasks = 16, kLeast = 512 / conv::kTile;  // kLeast: tiles a span
  const std::int64_t tasks = std::max<std::int64_t>(s.batch * s.blocks(), 1);
  return std::clamp<std::int64_t>(s.tiles() / kLeast, 1, std::max<std::int64_t>(kTasks / tasks, 1));
}

conv::Shape check(const char* op, const Arguments& a, bool silu) {
  check_leading(op, "x_BLE", a.x, 3);
  const Kind type = kind_of(a.x);
  const std::int64_t B = a.x.size(0), L = a.x.size(1), E = a.x.size(2);
  require(a.weight.defined() && a.weight.dim() == 2 && a.weight.size(1) >= 1,
          "[{}] weight_EW: expected [{}, W] with W >= 1, got {}", op, E, describe(a.weight));
  const std::int64_t W = a.weight.size(1);
  check_tensor(op, "weight_EW", a.weight, type, {E, W});
  check_optional(op, "bias_E", a.bias, type, {E});
  check_optional(op, "state_BSE", a.state, type, {B, W - 1, E});
  conv::Shape s{B, L, E, W, silu};
  if (a.x.is_cpu()) s.spans = span_count(s);
  return s;
}

Arguments prepare(const Arguments& a) {
  return {with_dense_rows(a.x), a.weight.contiguous(), contiguous_or_undefined(a.bias),
          contiguous_or_undefined(a.state)};
}

template <class T>
conv::Inputs<T> inputs(const Arguments& a) {
  return {rows<const T>(a.x), data<const T>(a.weight), data<const T>(a.bias), data<const T>(a.state)};
}

// `a` is prepared.
void run_forward(const conv::Shape& s, const Arguments& a, const at::Tensor& y, const at::Tensor& state) {
  if (a.x.scalar_type() == at::kDouble) {
    conv::forward_reference(s, inputs<double>(a), {rows<double>(y), data<double>(state)});
    return;
  }
  const auto in = inputs<float>(a);
  const conv::Outputs<float> out{rows<float>(y), data<float>(state)};
  if (on_device(a.x)) return launch("causal_conv1d", a.x, device_launches()->conv_forward, s, in, out);
  parallel_tasks(s.tasks(), task_grain(s),
                 [&](std::int64_t begin, std::int64_t end) { conv::forward(s, in, out, begin, end); });
}

variable_list run_forward(const conv::Shape& s, const Arguments& a) {
  const at::Tensor y = empty_output({s.batch, s.length, s.channels}, a.x.options());
  const at::Tensor state = at::empty({s.batch, s.taps - 1, s.channels}, a.x.options());
  run_forward(s, a, y, state);
  return {y, state};
}

Arguments run_device_backward(const conv::Shape& s, const Arguments& a, const at::Tensor& dy, const at::Tensor& dfinal) {
  const auto like = [](const at::Tensor& t) { return t.defined() ? at::empty(t.sizes(), t.options()) : t; };
  const Arguments g{at::empty({s.batch, s.length, s.channels}, a.x.options()), like(a.weight), like(a.bias), like(a.state)};
  const at::Tensor workspace = at::empty({conv::cuda_workspace_floats(s)}, a.x.options());
  const conv::Gradients<float> grad{rows<const float>(dy), data<const float>(dfinal), rows<float>(g.x),
                                    data<float>(g.weight), data<float>(g.bias),       data<float>(g.state)};
  launch("causal_conv1d", a.x, device_launches()->conv_backward, s, inputs<float>(a), grad, data<float>(workspace));
  return g;
}

// The gradients in the order of the arguments.
Arguments run_backward(const conv::Shape& s, const Arguments& a, const at::Tensor& dy, const at::Tensor& dfinal) {
  if (on_device(a.x)) return run_device_backward(s, a, dy, dfinal);
  const auto options = a.x.options();
  const bool reference = a.x.scalar_type() == at::kDouble;
  Arguments g;
  g.x = empty_output({s.batch, s.length, s.channels}, options);
  if (a.state.defined()) g.state = at::empty(a.state.sizes(), options);
  // Sums per sequence and span, then over those; the reference adds up by itself.
  const std::int64_t parts = reference ? 1 : s.batch * s.spans;
  const at::Tensor weight = at::zeros({parts, s.channels, s.taps}, options);
  const at::Tensor bias = a.bias.defined() ? at::zeros({parts, s.channels}, options) : at::Tensor();
  if (reference) {
    conv::backward_reference(s, inputs<double>(a),
                             {rows<const double>(dy), data<const double>(dfinal), rows<double>(g.x),
                              data<double>(weight), data<double>(bias), data<double>(g.state)});
    g.weight = weight.select(0, 0);
    if (bias.defined()) g.bias = bias.select(0, 0);
    return g;
  }
  const auto in = inputs<float>(a);
  const conv::Gradients<float> grad{rows<const float>(dy), data<const float>(dfinal), rows<float>(g.x),
                                    data<float>(weight),   data<float>(bias),         data<float>(g.state)};
  parallel_tasks(s.tasks(), task_grain(s),
                 [&](std::int64_t begin, std::int64_t end) { conv::backward(s, in, grad, begin, end); });
  g.weight = sum_over_first(weight), g.bias = sum_over_first(bias);
  return g;
}

struct Convolution : torch::autograd::Function<Convolution> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& state,
                               bool silu) {
    const Arguments original{x, weight, bias.value_or(at::Tensor()), state.value_or(at::Tensor())};
    const Arguments a = prepare(original);
    ctx->save_for_backward({a.x, a.weight, a.bias, a.state});
    ctx->saved_data["silu"] = silu;
    ctx->set_materialize_grads(false);
    return run_forward(check("causal_conv1d", original, silu), a);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Arguments a{saved[0], saved[1], saved[2], saved[3]};
    const at::Tensor dy = grads[0].defined() ? with_dense_rows(grads[0]) : at::zeros(a.x.sizes(), a.x.options());
    const Arguments g = run_backward(check("causal_conv1d", a, ctx->saved_data["silu"].toBool()), a, dy,
                                     contiguous_or_undefined(grads[1]));
    return {g.x, g.weight, g.bias, g.state, at::Tensor()};
  }
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> causal_conv1d(const at::Tensor& x_BLE, const at::Tensor& weight_EW,
                                                 const at::Tensor& bias_E, const at::Tensor& state_BSE, bool silu) {
  if (is_bfloat16(x_BLE)) {
    const auto [y, state] = causal_conv1d(widen(x_BLE), widen(weight_EW), widen(bias_E), widen(state_BSE), silu);
    return {narrow(y), state};
  }
  const Arguments a{x_BLE, weight_EW, bias_E, state_BSE};
  const conv::Shape shape = check("causal_conv1d", a, silu);
  const variable_list out = needs_gradient({&a.x, &a.weight, &a.bias, &a.state})
                                ? Convolution::apply(x_BLE, weight_EW, if_defined(bias_E), if_defined(state_BSE), silu)
                                : run_forward(shape, prepare(a));
  return {out[0], out[1]};
}

}  // namespace hymba::kernels
