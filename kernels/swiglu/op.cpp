#include "kernels/swiglu/op.h"

#include <torch/csrc/autograd/custom_function.h>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/swiglu/kernel.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::int64_t task_grain(const gate::Shape& s) { return grain_for(0.5 * static_cast<double>(gate::kRows * s.width)); }

gate::Shape shape_of(const at::Tensor& matrix) { return {matrix.size(0), matrix.size(1) / 2, matrix.stride(0)}; }

at::Tensor run_forward(const at::Tensor& matrix) {
  const gate::Shape s = shape_of(matrix);
  const at::Tensor y = empty_output({s.rows, s.width}, matrix.options());
  if (matrix.scalar_type() == at::kDouble) {
    gate::forward_reference(s, data<double>(matrix), data<double>(y));
    return y;
  }
  const float* x = data<float>(matrix);
  float* out = data<float>(y);
  if (on_device(matrix)) {
    launch("swiglu", matrix, device_launches()->gate_forward, s, x, out);
    return y;
  }
  parallel_tasks(s.tasks(), task_grain(s),
                 [=](std::int64_t begin, std::int64_t end) { gate::forward(s, x, out, begin, end); });
  return y;
}

at::Tensor run_backward(const at::Tensor& matrix, const at::Tensor& dy) {
  const gate::Shape s = shape_of(matrix);
  const at::Tensor dx = empty_output(matrix.sizes(), matrix.options());
  if (matrix.scalar_type() == at::kDouble) {
    gate::backward_reference(s, data<double>(matrix), data<double>(dy), data<double>(dx));
    return dx;
  }
  const float *x = data<float>(matrix), *g = data<float>(dy);
  float* out = data<float>(dx);
  if (on_device(matrix)) {
    launch("swiglu", matrix, device_launches()->gate_backward, s, x, g, out);
    return dx;
  }
  parallel_tasks(s.tasks(), task_grain(s),
                 [=](std::int64_t begin, std::int64_t end) { gate::backward(s, x, g, out, begin, end); });
  return dx;
}

std::vector<std::int64_t> halved(at::IntArrayRef sizes) {
  auto out = sizes.vec();
  out.back() /= 2;
  return out;
}

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_up) {
    const at::Tensor matrix = as_matrix(gate_up);
    ctx->save_for_backward({matrix});
    ctx->saved_data["sizes"] = gate_up.sizes().vec();
    return run_forward(matrix).view(halved(gate_up.sizes()));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    return {run_backward(ctx->get_saved_variables()[0], grads[0].contiguous()).view(sizes)};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up) {
  if (is_bfloat16(gate_up)) return narrow(swiglu(widen(gate_up)));
  check_leading("swiglu", "gate_up", gate_up, 0);
  require(gate_up.size(-1) % 2 == 0, "[swiglu] gate_up: expected an even last axis, got {}", describe(gate_up));
  if (needs_gradient({&gate_up})) return Gate::apply(gate_up);
  return run_forward(as_matrix(gate_up)).view(halved(gate_up.sizes()));
}

void swiglu_out(const at::Tensor& y, const at::Tensor& gate_up) {
  check_leading("swiglu", "gate_up_BX", gate_up, 2);
  const Kind kind(at::kFloat, gate_up.device());
  check_tensor("swiglu", "gate_up_BX", gate_up, kind, {gate_up.size(0), gate_up.size(1) / 2 * 2});
  check_tensor("swiglu", "y_BF", y, kind, {gate_up.size(0), gate_up.size(1) / 2});
  require(y.is_contiguous() && gate_up.stride(1) == 1, "[swiglu] y_BF, gate_up_BX: expected dense rows");
  const gate::Shape s = shape_of(gate_up);
  const float* x = data<const float>(gate_up);
  float* out = data<float>(y);
  if (on_device(gate_up)) return launch("swiglu", gate_up, device_launches()->gate_forward, s, x, out);
  parallel_tasks(s.tasks(), task_grain(s),
                 [=](std::int64_t begin, std::int64_t end) { gate::forward(s, x, out, begin, end); });
}

}  // namespace hymba::kernels
