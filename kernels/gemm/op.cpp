#include "kernels/gemm/op.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/gemm/kernel.h"
#include "kernels/isa.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/storage_of.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kMostWeights = 1 << 17;  // floats of a small weight: half of the L2 cache

// Sums in another order are another training, bit for bit: runs that are compared must agree on this.
bool own_gemm() {
  const char* text = std::getenv("HYMBA_GEMM");
  const std::string value = text != nullptr ? text : "own";
  require(value == "own" || value == "library", "HYMBA_GEMM={}: expected own or library", value);
  return value == "own";
}

// out[j * width + i] = matrix[i][j].
void transpose_into(const at::Tensor& matrix, float* out, std::int64_t width) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1), tasks = (columns + gemm::kPanel - 1) / gemm::kPanel;
  const float* in = matrix.const_data_ptr<float>();
  parallel_tasks(tasks, grain_for(0.2 * static_cast<double>(gemm::kPanel * rows)), [&](std::int64_t begin, std::int64_t end) {
    gemm::transpose(in, rows, columns, matrix.stride(0), out, width, begin, end);
  });
}
void transpose_into(const at::Tensor& matrix, double* out, std::int64_t width) {
  const double* in = matrix.const_data_ptr<double>();
  for (std::int64_t i = 0; i < matrix.size(0); ++i) {
    for (std::int64_t j = 0; j < matrix.size(1); ++j) out[j * width + i] = in[i * matrix.stride(0) + j];
  }
}

// B[k][j] of the product, padded: a view of `matrix` where its rows are dense vectors already, else a copy.
template <class T>
struct Right {
  at::Tensor copy;
  const T* data;
  std::int64_t row;
  // transposed: B[k][j] = matrix[j][k].
  Right(const at::Tensor& matrix, bool transposed) : data(matrix.const_data_ptr<T>()), row(matrix.stride(0)) {
    const std::int64_t N = matrix.size(transposed ? 0 : 1), K = matrix.size(transposed ? 1 : 0);
    if (!transposed && N % gemm::kPad == 0) return;
    const std::int64_t width = (N + gemm::kPad - 1) / gemm::kPad * gemm::kPad;
    copy = at::empty({K, width}, matrix.options());
    T* out = copy.data_ptr<T>();
    if (transposed) transpose_into(matrix, out, width);
    for (std::int64_t k = 0; k < K; ++k) {
      if (!transposed) std::copy(data + k * row, data + k * row + N, out + k * width);
      std::fill(out + k * width + N, out + (k + 1) * width, T(0));
    }
    data = out;
    row = width;
  }
};

void run(const gemm::Shape& s, const double* a, const double* b, const double* start, double* c) { gemm::reference(s, a, b, start, c); }
void run(const gemm::Shape& s, const float* a, const float* b, const float* start, float* c) {
  parallel_tasks(s.tasks(), grain_for(0.03 * static_cast<double>(gemm::kRows * s.N * s.K)),
                 [=](std::int64_t begin, std::int64_t end) { gemm::cpu(s, a, b, start, c, begin, end); });
}

// Rows of C a task: all of them where there are panels enough for the threads, so that each is packed once.
std::int64_t rows_of_task(std::int64_t rows, std::int64_t columns) {
  const std::int64_t panels = (columns + gemm::kPanel - 1) / gemm::kPanel, wanted = 4 * at::get_num_threads();
  const std::int64_t pieces = std::clamp<std::int64_t>((wanted + panels - 1) / panels, 1, std::max<std::int64_t>(rows / 48, 1));
  return std::max<std::int64_t>(1, (rows + pieces - 1) / pieces);
}

void run_panels(const gemm::Shape& s, const float* a, const at::Tensor& b, bool b_transposed, const float* start, float* c, bool bf16_pairs = false) {
  const gemm::Panels p{s, b_transposed, storage_of(b), rows_of_task(s.M, s.N), bf16_pairs};
  const double nanoseconds = 0.03 * static_cast<double>(std::min(p.task_rows, s.M) * gemm::kPanel * s.K);
  parallel_tasks(p.tasks(), grain_for(nanoseconds), [&](std::int64_t begin, std::int64_t end) { gemm::panels(p, a, b.const_data_ptr(), start, c, begin, end); });
}

template <class T>
const T* data_or_null(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<T>() : nullptr;
}

// c = start + op(a) op(b), a and b with dense rows, transposed where said; rows of c are dense. start: undefined, or as c, or c
// itself. large: b is packed by panels.
void multiply(const at::Tensor& a, bool a_transposed, const at::Tensor& b, bool b_transposed, const at::Tensor& start, const at::Tensor& c,
              bool large) {
  if (c.numel() == 0) return;
  gemm::Shape s;
  s.M = c.size(0), s.N = c.size(1), s.K = a.size(a_transposed ? 0 : 1);
  s.a_row = a_transposed ? 1 : a.stride(0), s.a_step = a_transposed ? a.stride(0) : 1;
  s.c_row = c.stride(0);
  if (large && c.scalar_type() == at::kFloat) {
    const at::Tensor rows = a_transposed ? at::empty({a.size(1), a.size(0)}, a.options()) : a;
    if (a_transposed) transpose_into(a, rows.data_ptr<float>(), rows.stride(0));
    s.a_row = rows.stride(0), s.a_step = 1, s.b_row = b.stride(0);
    return run_panels(s, rows.const_data_ptr<float>(), b, b_transposed, data_or_null<float>(start), c.data_ptr<float>());
  }
  AT_DISPATCH_FLOATING_TYPES(c.scalar_type(), "linear", [&] {
    const Right<scalar_t> right(b, b_transposed);
    s.b_row = right.row;
    run(s, a.const_data_ptr<scalar_t>(), right.data, data_or_null<scalar_t>(start), c.data_ptr<scalar_t>());
  });
}

bool is_large(const at::Tensor& weight) { return weight.numel() > kMostWeights; }

at::Tensor forward_pass(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual) {
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor y = empty_output(sizes, x.options()), start = residual.defined() ? residual.contiguous() : residual;
  const at::Tensor matrix = as_matrix(x);
  multiply(matrix, false, weight, true, start, y.view({matrix.size(0), weight.size(0)}), is_large(weight));
  return y;
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& residual) {
    const at::Tensor dense = weight.contiguous();
    ctx->save_for_backward({as_matrix(x), dense});
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["residual"] = residual.has_value();
    return forward_pass(x, dense, residual.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], dy = as_matrix(grads[0]);
    at::Tensor dx, dweight;
    if (ctx->needs_input_grad(0)) {
      dx = empty_output({x.size(0), x.size(1)}, x.options());
      multiply(dy, false, weight, false, {}, dx, is_large(weight));
      dx = dx.view(ctx->saved_data["sizes"].toIntVector());
    }
    if (ctx->needs_input_grad(1)) {
      dweight = at::empty(weight.sizes(), x.options());
      multiply(dy, true, x, false, {}, dweight, is_large(weight));
    }
    return {dx, dweight, ctx->saved_data["residual"].toBool() ? grads[0] : at::Tensor()};
  }
};

}  // namespace

bool prefers_own_gemm(const at::Tensor& x, const at::Tensor& weight) {
  static const bool chosen = own_gemm();
  return chosen && x.is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 8 * x.size(-1);
}

void linear_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, bool add, bool round) {
  const c10::AutoGradMode no_gradient(false);
  check_leading("linear", "x", x, 2);
  require(x.scalar_type() == at::kFloat && x.is_cpu(), "[linear] x: expected float32 on the CPU, got {}", describe(x));
  const bool known = weight.defined() && weight.dim() == 2 && weight.is_cpu() && weight.size(1) == x.size(1) &&
                     (weight.scalar_type() == at::kFloat || is_half_width(weight.scalar_type()));
  require(known, "[linear] weight_OI: expected [O, {}] in float32, bfloat16 or float16, got {}", x.size(1), describe(weight));
  check_tensor("linear", "y", y, {at::kFloat, x.device()}, {x.size(0), weight.size(0)});
  const bool dense = x.stride(1) == 1 && weight.stride(1) == 1 && y.stride(1) == 1;
  require(dense || y.numel() == 0, "[linear] x, weight_OI, y: expected a last axis without gaps");
  if (y.numel() == 0) return;
  if (round) {
    require(weight.scalar_type() == at::kBFloat16, "[linear] weight_OI: expected bfloat16 where x is rounded, got {}", describe(weight));
    const at::Tensor rounded = x.to(at::kBFloat16);
    const bool pairs = x.size(1) % 2 == 0 && rounded.stride(0) % 2 == 0 && weight.stride(0) % 2 == 0;
    if (!multiplies_bf16() || !pairs) return linear_out(y, rounded.to(at::kFloat), weight, add);
    gemm::Shape s;
    s.M = y.size(0), s.N = y.size(1), s.K = x.size(1) / 2;
    s.a_row = rounded.stride(0) / 2, s.a_step = 1, s.b_row = weight.stride(0) / 2, s.c_row = y.stride(0);
    float* out = y.data_ptr<float>();
    return run_panels(s, static_cast<const float*>(rounded.const_data_ptr()), weight, true, add ? out : nullptr, out, true);
  }
  multiply(x, false, weight, true, add ? y : at::Tensor(), y, true);  // panels need no memory, which a decoding step must not ask for
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual) {
  if (is_bfloat16(x)) return narrow(linear(widen(x), widen(weight), widen(residual)));
  check_leading("linear", "x", x, 0);
  require(weight.defined() && weight.dim() == 2, "[linear] weight_OI: expected 2 axes, got {}", describe(weight));
  check_tensor("linear", "weight_OI", weight, x.scalar_type(), {weight.size(0), x.size(-1)});
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  check_optional("linear", "residual", residual, x.scalar_type(), sizes);
  if (needs_gradient({&x, &weight, &residual})) return Linear::apply(x, weight, if_defined(residual));
  return forward_pass(x, weight.contiguous(), residual);
}

}  // namespace hymba::kernels
