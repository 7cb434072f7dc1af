#include "kernels/rms_norm/op.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/partials.h"
#include "kernels/rms_norm/kernel.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check(const at::Tensor& x, const at::Tensor& weight, double eps) {
  check_leading("rms_norm", "x", x, 0);
  check_tensor("rms_norm", "weight", weight, kind_of(x), {x.size(-1)});
  require(eps >= 0, "[rms_norm] eps: expected a number >= 0, got {}", eps);
}

std::int64_t task_grain(const norm::Shape& s) { return grain_for(0.2 * static_cast<double>(norm::kRows * s.width)); }

norm::Shape shape_of(const at::Tensor& matrix, double eps) {
  return {matrix.size(0), matrix.size(1), matrix.stride(0), eps};
}

struct Result {
  at::Tensor y, rstd;
};

Result run_forward(const at::Tensor& matrix, const at::Tensor& weight, double eps, bool keep) {
  const norm::Shape s = shape_of(matrix, eps);
  Result r{empty_output(matrix.sizes(), matrix.options()), at::Tensor()};
  if (matrix.scalar_type() == at::kDouble) {
    norm::forward_reference(s, data<double>(matrix), data<double>(weight), data<double>(r.y));
    return r;
  }
  if (keep) r.rstd = at::empty({s.rows}, matrix.options());
  const float *x = data<float>(matrix), *w = data<float>(weight);
  float *y = data<float>(r.y), *rstd = data<float>(r.rstd);
  if (on_device(matrix)) {
    launch("rms_norm", matrix, device_launches()->norm_forward, s, x, w, y, rstd);
    return r;
  }
  parallel_tasks(s.tasks(), task_grain(s),
                 [=](std::int64_t begin, std::int64_t end) { norm::forward(s, x, w, y, rstd, begin, end); });
  return r;
}

struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const at::Tensor matrix = as_matrix(x), dense = weight.contiguous();
    const Result r = run_forward(matrix, dense, eps, true);
    ctx->save_for_backward({matrix, dense, r.rstd});
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["sizes"] = x.sizes().vec();
    return r.y.view(x.sizes());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &matrix = saved[0], &weight = saved[1];
    const norm::Shape s = shape_of(matrix, ctx->saved_data["eps"].toDouble());
    const at::Tensor dy = grads[0].contiguous(), dx = empty_output(matrix.sizes(), matrix.options());
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    if (matrix.scalar_type() == at::kDouble) {
      const at::Tensor dweight = at::zeros({s.width}, matrix.options());
      norm::backward_reference(s, data<double>(matrix), data<double>(weight), data<double>(dy), data<double>(dx),
                               data<double>(dweight));
      return {dx.view(sizes), dweight, at::Tensor()};
    }
    const float *x = data<float>(matrix), *w = data<float>(weight), *rstd = data<float>(saved[2]);
    const float* g = data<float>(dy);
    if (on_device(matrix)) {
      const at::Tensor dweight = at::empty({s.width}, matrix.options());
      const at::Tensor workspace = at::empty({norm::cuda_workspace_floats(s)}, matrix.options());
      launch("rms_norm", matrix, device_launches()->norm_backward, s, x, w, rstd, g, data<float>(dx),
             data<float>(dweight), data<float>(workspace));
      return {dx.view(sizes), dweight, at::Tensor()};
    }
    const at::Tensor parts = at::empty({s.tasks(), s.width}, matrix.options());
    float *dx_data = data<float>(dx), *dw = data<float>(parts);
    parallel_tasks(s.tasks(), task_grain(s), [=](std::int64_t begin, std::int64_t end) {
      norm::backward(s, x, w, rstd, g, dx_data, dw, begin, end);
    });
    return {dx.view(sizes), sum_over_first(parts), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (is_bfloat16(x)) return narrow(rms_norm(widen(x), widen(weight), eps));
  check(x, weight, eps);
  if (needs_gradient({&x, &weight})) return Norm::apply(x, weight, eps);
  return run_forward(as_matrix(x), weight.contiguous(), eps, false).y.view(x.sizes());
}

void rms_norm_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, double eps,
                  const RmsNormOutOptions& o) {
  check_leading("rms_norm", "x_BI", x, 2);
  const std::int64_t width = x.size(1), wide = weight.defined() && weight.dim() == 1 ? weight.size(0) : 0;
  require(width > 0 && wide >= width && wide % width == 0, "[rms_norm] weight_O: expected a multiple of {}, got {}",
          width, describe(weight));
  const Kind kind(at::kFloat, x.device());
  check_tensor("rms_norm", "x_BI", x, kind, {x.size(0), width});
  check_tensor("rms_norm", "weight_O", weight, kind, {wide});
  check_tensor("rms_norm", "y_BO", y, kind, {x.size(0), wide});
  require((width == 1 || x.stride(1) == 1) && (wide == 1 || y.stride(1) == 1) && weight.is_contiguous(),
          "[rms_norm] x_BI, y_BO, weight_O: expected a last axis without gaps");
  const norm::OutShape s{x.size(0), width, wide / width, x.stride(0), y.stride(0), eps, o.scale, o.add};
  const float *in = data<const float>(x), *w = data<const float>(weight);
  float* out = data<float>(y);
  if (on_device(x)) return launch("rms_norm", x, device_launches()->norm_forward_out, s, in, w, out);
  parallel_tasks(s.rows, grain_for(0.2 * static_cast<double>(wide)),
                 [&](std::int64_t begin, std::int64_t end) { norm::forward_out(s, in, w, out, begin, end); });
}

}  // namespace hymba::kernels
