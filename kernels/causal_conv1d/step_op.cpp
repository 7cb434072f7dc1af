// The decoding step of op.h: checks, then step.cpp.
#include <ATen/ops/empty.h>

#include "kernels/causal_conv1d/kernel.h"
#include "kernels/causal_conv1d/op.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/parallel.h"

namespace hymba::kernels {
namespace {

constexpr const char* kOp = "conv_update";

conv::Shape check(const at::Tensor& y, const at::Tensor& state, const at::Tensor& x, const at::Tensor& weight,
                  const at::Tensor& bias, bool silu) {
  check_leading(kOp, "x_BE", x, 2);
  const Kind type = kind_of(x);
  const std::int64_t B = x.size(0), E = x.size(1);
  require(weight.defined() && weight.dim() == 2 && weight.size(1) >= 1,
          "[{}] weight_EW: expected [{}, W] with W >= 1, got {}", kOp, E, describe(weight));
  const std::int64_t W = weight.size(1);
  check_tensor(kOp, "weight_EW", weight, type, {E, W});
  check_optional(kOp, "bias_E", bias, type, {E});
  check_tensor(kOp, "state_BSE", state, type, {B, W - 1, E});
  check_tensor(kOp, "y_BE", y, type, {B, E});
  require(state.is_contiguous() && weight.is_contiguous() && (!bias.defined() || bias.is_contiguous()),
          "[{}] state_BSE, weight_EW, bias_E: expected contiguous tensors", kOp);
  require(E <= 1 || (x.stride(1) == 1 && y.stride(1) == 1), "[{}] x_BE, y_BE: expected dense rows", kOp);
  return {B, 1, E, W, silu};
}

template <class T>
void run(const conv::Shape& s, const at::Tensor& y, const at::Tensor& state, const at::Tensor& x,
         const at::Tensor& weight, const at::Tensor& bias) {
  const conv::Inputs<T> in{{x.const_data_ptr<T>(), x.stride(0), 0},
                           weight.const_data_ptr<T>(),
                           bias.defined() ? bias.const_data_ptr<T>() : nullptr,
                           state.const_data_ptr<T>()};
  const conv::Outputs<T> out{{y.data_ptr<T>(), y.stride(0), 0}, state.data_ptr<T>()};
  if constexpr (std::is_same_v<T, double>) {
    conv::forward_reference(s, in, out);
  } else if (on_device(x)) {
    launch(kOp, x, device_launches()->conv_step, s, in, out);
  } else {
    parallel_tasks(conv::step_tasks(s), grain_for(0.3 * conv::kStepBlock),
                   [&](std::int64_t begin, std::int64_t end) { conv::step(s, in, out, begin, end); });
  }
}

}  // namespace

void conv_update_out(const at::Tensor& y, const at::Tensor& state, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& bias, bool silu) {
  const conv::Shape shape = check(y, state, x, weight, bias, silu);
  x.scalar_type() == at::kDouble ? run<double>(shape, y, state, x, weight, bias)
                                 : run<float>(shape, y, state, x, weight, bias);
}

at::Tensor conv_update(const at::Tensor& state, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       bool silu) {
  check_leading(kOp, "x_BE", x, 2);
  const at::Tensor y = at::empty(x.sizes(), x.options());
  conv_update_out(y, state, with_dense_rows(x), contiguous_or_undefined(weight), contiguous_or_undefined(bias), silu);
  return y;
}

}  // namespace hymba::kernels
