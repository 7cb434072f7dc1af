#include "kernels/selective_scan/op.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/partials.h"
#include "kernels/selective_scan/kernel.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kOp = "selective_scan";

// The op's tensors in the order of its arguments; optional ones may be undefined.
struct Arguments {
  at::Tensor u, dt, A, B, C, D, z, dt_bias, h0;
};

// Enough tasks for the threads, else wide blocks: B and C are read, and their gradients summed, once a block, and rows by larger parts (two
// threads at 32 channels each of the same rows take 1.4 times as long as at 64). Sequences that can be cut in time need fewer tasks.
std::int64_t channel_block(std::int64_t batch, std::int64_t groups, std::int64_t group_channels, std::int64_t length) {
  for (const std::int64_t block : {128, 64}) {
    if (batch * groups * (group_channels / block) >= 8) return block;
  }
  return length >= 3 * scan::kSpan * scan::kTile && batch * groups * (group_channels / 64) >= 2 ? 64 : scan::kChunk;
}

std::int64_t task_grain(const scan::Shape& s) {
  return grain_for(0.3 * static_cast<double>(s.length * s.block * s.states));
}

// Spans of time, where there are half as many tasks as threads or fewer, and the memory that they need. `cost`: the
// time of summing a tile up, over that of walking it.
struct Cut {
  at::Tensor states, steps;
  scan::Spans spans;

  Cut(const scan::Shape& s, double cost, const at::TensorOptions& options) {
    const std::int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
    const std::int64_t parts = s.tasks() > 0 ? std::min(threads / s.tasks(), s.tiles() / scan::kSpan - 1) : 1;
    if (parts < 2) return;
    spans.count = parts + 1;
    spans.lead = std::max<std::int64_t>(1, std::llround(static_cast<double>(s.tiles()) * cost / (cost + parts)));
    states = at::empty({spans.count, s.batch, s.channels, s.states}, options);
    steps = at::empty({spans.count, s.batch, s.channels}, options);
    spans.states = states.data_ptr<float>(), spans.steps = steps.data_ptr<float>();
  }
};

// Runs walk(begin, end) over the tasks of all spans, around the pass that finds the states at which they are entered.
template <class Walk>
void run_walks(const scan::Shape& s, const scan::Inputs<float>& in, const Rows<const float>& dy,
               const scan::Spans& spans, const Walk& walk) {
  const std::int64_t tasks = s.tasks();
  if (spans.count == 1) return parallel_tasks(tasks, task_grain(s), walk);
  parallel_tasks((spans.count - 1) * tasks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) i < tasks ? walk(i, i + 1) : scan::sum_up(s, in, dy, spans, i, i + 1);
  });
  scan::carry(s, in.A, spans, 0, s.batch);
  parallel_tasks((spans.count - 1) * tasks,
                 [&](std::int64_t begin, std::int64_t end) { walk(tasks + begin, tasks + end); });
}

scan::Shape check(const char* op, const Arguments& x, const SelectiveScanOptions& options) {
  check_leading(op, "u_BLE", x.u, 3);
  const Kind type = kind_of(x.u);
  const std::int64_t B = x.u.size(0), L = x.u.size(1), E = x.u.size(2);
  check_tensor(op, "dt_BLE", x.dt, type, {B, L, E});
  require(x.A.defined() && x.A.dim() == 2 && x.A.size(1) >= 1, "[{}] A_EN: expected [{}, N] with N >= 1, got {}", op, E,
          describe(x.A));
  const std::int64_t N = x.A.size(1);
  check_tensor(op, "A_EN", x.A, type, {E, N});
  require(x.B.defined() && (x.B.dim() == 3 || x.B.dim() == 4),
          "[{}] B_BLN: expected [{}, {}, {}] or [B, L, G, N], got {}", op, B, L, N, describe(x.B));
  const bool grouped = x.B.dim() == 4;
  const std::int64_t G = grouped ? x.B.size(2) : 1;
  require(G >= 1 && E % G == 0, "[{}] B_BLN: expected a number of groups that divides {} channels, got {}", op, E, G);
  const std::vector<std::int64_t> rows = grouped ? std::vector{B, L, G, N} : std::vector{B, L, N};
  check_tensor(op, "B_BLN", x.B, type, rows);
  check_tensor(op, "C_BLN", x.C, type, rows);
  check_optional(op, "D_E", x.D, type, {E});
  check_optional(op, "z_BLE", x.z, type, {B, L, E});
  check_optional(op, "dt_bias_E", x.dt_bias, type, {E});
  check_optional(op, "h0_BEN", x.h0, type, {B, E, N});
  return {B, L, E, N, G, options.softplus, channel_block(B, G, E / G, L)};
}

Arguments prepare(const Arguments& x) {
  const std::int64_t inner = x.B.dim() - 2;
  return {with_dense_rows(x.u),
          with_dense_rows(x.dt),
          x.A.contiguous(),
          with_dense_rows(x.B, inner),
          with_dense_rows(x.C, inner),
          contiguous_or_undefined(x.D),
          with_dense_rows(x.z),
          contiguous_or_undefined(x.dt_bias),
          contiguous_or_undefined(x.h0)};
}

template <class T>
scan::Inputs<T> inputs(const Arguments& x) {
  return {rows<const T>(x.u), rows<const T>(x.dt), rows<const T>(x.z),       rows<const T>(x.B), rows<const T>(x.C),
          data<const T>(x.A), data<const T>(x.D),  data<const T>(x.dt_bias), data<const T>(x.h0)};
}

struct Result {
  at::Tensor y, h, states, ungated;
};

// `x` is prepared. States are kept for a backward pass only, and only by the float kernels; those of the CPU keep y before the gate as well.
Result run_forward(const scan::Shape& s, const Arguments& x, bool keep) {
  const auto options = x.u.options();
  Result r;
  r.y = empty_output({s.batch, s.length, s.channels}, options);
  r.h = at::empty({s.batch, s.channels, s.states}, options);
  if (x.u.scalar_type() == at::kDouble) {
    scan::forward_reference(s, inputs<double>(x), {rows<double>(r.y), data<double>(r.h)});
    return r;
  }
  if (keep) {
    r.states = on_device(x.u) ? at::empty({scan::cuda_state_floats(s)}, options)
                              : at::empty({s.batch, s.tiles(), s.states, s.channels}, options);
    if (x.z.defined() && !on_device(x.u)) r.ungated = empty_output(x.z.sizes(), options);
  }
  const auto in = inputs<float>(x);
  const scan::Outputs<float> out{rows<float>(r.y), data<float>(r.h), data<float>(r.states), rows<float>(r.ungated)};
  if (on_device(x.u)) {
    launch(kOp, x.u, device_launches()->scan_forward, s, in, out);
    return r;
  }
  const Cut cut(s, 0.85, options);
  run_walks(s, in, {}, cut.spans,
            [&](std::int64_t begin, std::int64_t end) { scan::forward(s, in, out, cut.spans, begin, end); });
  return r;
}

Arguments run_device_backward(const scan::Shape& s, const Arguments& x, const at::Tensor& states, const at::Tensor& dy,
                              const at::Tensor& dh) {
  const auto like = [](const at::Tensor& t) { return t.defined() ? at::empty(t.sizes(), t.options()) : t; };
  const Arguments g{like(x.u), like(x.dt), like(x.A),       like(x.B), like(x.C),
                    like(x.D), like(x.z),  like(x.dt_bias), like(x.h0)};
  const at::Tensor workspace = at::empty({scan::cuda_workspace_floats(s)}, x.u.options());
  const scan::Gradients<float> grad{rows<const float>(dy), data<const float>(dh),  rows<float>(g.u), rows<float>(g.dt),
                                    rows<float>(g.z),      data<float>(g.A),       data<float>(g.B), data<float>(g.C),
                                    data<float>(g.D),      data<float>(g.dt_bias), data<float>(g.h0)};
  launch(kOp, x.u, device_launches()->scan_backward, s, inputs<float>(x), data<const float>(states), grad,
         data<float>(workspace));
  return g;
}

// The gradients in the order of the arguments. `ungated` becomes that of z.
Arguments run_backward(const scan::Shape& s, const Arguments& x, const at::Tensor& states, const at::Tensor& ungated,
                       const at::Tensor& dy, const at::Tensor& dh) {
  if (on_device(x.u)) return run_device_backward(s, x, states, dy, dh);
  const auto options = x.u.options();
  const std::int64_t B = s.batch, L = s.length, E = s.channels, N = s.states;
  const auto like = [&](const at::Tensor& t, at::IntArrayRef sizes) {
    return t.defined() ? at::zeros(sizes, options) : at::Tensor();
  };
  const auto rows_like = [&](const at::Tensor& t) {
    return t.defined() ? empty_output({B, L, E}, options) : at::Tensor();
  };
  Arguments g;
  g.u = rows_like(x.u), g.dt = rows_like(x.dt), g.z = ungated;
  g.h0 = like(x.h0, {B, E, N});
  if (x.u.scalar_type() == at::kDouble) {
    g.z = rows_like(x.z);
    g.A = like(x.A, {E, N}), g.B = like(x.B, x.B.sizes()), g.C = like(x.C, x.C.sizes());
    g.D = like(x.D, {E}), g.dt_bias = like(x.dt_bias, {E});
    scan::backward_reference(s, inputs<double>(x),
                             {rows<const double>(dy), data<const double>(dh), rows<double>(g.u), rows<double>(g.dt),
                              rows<double>(g.z), data<double>(g.A), data<double>(g.B), data<double>(g.C),
                              data<double>(g.D), data<double>(g.dt_bias), data<double>(g.h0)});
    return g;
  }
  const Cut cut(s, 0.35, options);
  const std::int64_t parts = cut.spans.count * B;
  const at::Tensor dA = at::empty({parts, E, N}, options);
  const at::Tensor dB = at::empty({s.group_blocks(), B, L, s.groups, N}, options);
  const at::Tensor dC = at::empty({s.group_blocks(), B, L, s.groups, N}, options);
  const at::Tensor dD = like(x.D, {parts, E}), dbias = like(x.dt_bias, {parts, E});
  const scan::Gradients<float> grad{rows<const float>(dy), data<const float>(dh), rows<float>(g.u), rows<float>(g.dt),
                                    rows<float>(g.z),      data<float>(dA),       data<float>(dB),  data<float>(dC),
                                    data<float>(dD),       data<float>(dbias),    data<float>(g.h0)};
  const auto in = inputs<float>(x);
  run_walks(s, in, grad.y, cut.spans, [&](std::int64_t begin, std::int64_t end) {
    scan::backward(s, in, data<const float>(states), grad, cut.spans, begin, end);
  });
  g.A = sum_over_first(dA), g.D = sum_over_first(dD), g.dt_bias = sum_over_first(dbias);
  g.B = sum_over_first(dB).view(x.B.sizes()), g.C = sum_over_first(dC).view(x.C.sizes());
  return g;
}

struct Scan : torch::autograd::Function<Scan> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& u, const at::Tensor& dt, const at::Tensor& A,
                               const at::Tensor& B, const at::Tensor& C, const std::optional<at::Tensor>& D,
                               const std::optional<at::Tensor>& z, const std::optional<at::Tensor>& dt_bias,
                               const std::optional<at::Tensor>& h0, bool softplus) {
    const Arguments original{u,
                             dt,
                             A,
                             B,
                             C,
                             D.value_or(at::Tensor()),
                             z.value_or(at::Tensor()),
                             dt_bias.value_or(at::Tensor()),
                             h0.value_or(at::Tensor())};
    const scan::Shape shape = check(kOp, original, {softplus});
    const Arguments x = prepare(original);
    const Result r = run_forward(shape, x, true);
    ctx->save_for_backward({x.u, x.dt, x.A, x.B, x.C, x.D, x.z, x.dt_bias, x.h0, r.states, r.ungated});
    ctx->saved_data["softplus"] = softplus;
    ctx->set_materialize_grads(false);
    return {r.y, r.h};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Arguments x{saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], saved[6], saved[7], saved[8]};
    const scan::Shape shape = check(kOp, x, {ctx->saved_data["softplus"].toBool()});
    const at::Tensor dy = grads[0].defined() ? with_dense_rows(grads[0]) : at::zeros(x.u.sizes(), x.u.options());
    // The gate's gradient takes the place of what was kept for it: a graph that is walked again computes that anew.
    at::Tensor ungated = saved[10];
    if (ungated.defined() && !ctx->saved_data.emplace("overwritten", true).second) ungated = run_forward(shape, x, true).ungated;
    const Arguments g = run_backward(shape, x, saved[9], ungated, dy, contiguous_or_undefined(grads[1]));
    return {g.u, g.dt, g.A, g.B, g.C, g.D, g.z, g.dt_bias, g.h0, at::Tensor()};
  }
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> selective_scan(const at::Tensor& u_BLE, const at::Tensor& dt_BLE,
                                                  const at::Tensor& A_EN, const at::Tensor& B_BLN,
                                                  const at::Tensor& C_BLN, const at::Tensor& D_E,
                                                  const at::Tensor& z_BLE, const at::Tensor& dt_bias_E,
                                                  const at::Tensor& h0_BEN, SelectiveScanOptions options) {
  if (is_bfloat16(u_BLE)) {
    const auto [y, h] = selective_scan(widen(u_BLE), widen(dt_BLE), widen(A_EN), widen(B_BLN), widen(C_BLN), widen(D_E),
                                       widen(z_BLE), widen(dt_bias_E), widen(h0_BEN), options);
    return {narrow(y), h};
  }
  const Arguments x{u_BLE, dt_BLE, A_EN, B_BLN, C_BLN, D_E, z_BLE, dt_bias_E, h0_BEN};
  const scan::Shape shape = check(kOp, x, options);
  if (needs_gradient({&x.u, &x.dt, &x.A, &x.B, &x.C, &x.D, &x.z, &x.dt_bias, &x.h0})) {
    const auto out = Scan::apply(u_BLE, dt_BLE, A_EN, B_BLN, C_BLN, if_defined(D_E), if_defined(z_BLE),
                                 if_defined(dt_bias_E), if_defined(h0_BEN), options.softplus);
    return {out[0], out[1]};
  }
  const Result r = run_forward(shape, prepare(x), false);
  return {r.y, r.h};
}

}  // namespace hymba::kernels
