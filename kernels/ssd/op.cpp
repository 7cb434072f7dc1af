#include "kernels/ssd/op.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>

#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/partials.h"
#include "kernels/ssd/kernel.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using ssd_detail::Args;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kMacsANanosecond = 20;  // roughly: to see what is worth a thread

// The op's tensors in the order of its arguments; the last three may be undefined.
struct Arguments {
  at::Tensor x, dt, A, B, C, D, dt_bias, h0;
};

void check(const char* op, const Arguments& t, const SsdOptions& o) {
  check_leading(op, "x_BLHP", t.x, 4);
  const Kind type = kind_of(t.x);
  const std::int64_t B = t.x.size(0), L = t.x.size(1), H = t.x.size(2), P = t.x.size(3);
  require(H > 0 && P > 0, "[{}] x_BLHP: expected H > 0 and P > 0, got {}", op, describe(t.x));
  check_tensor(op, "dt_BLH", t.dt, type, {B, L, H});
  check_tensor(op, "A_H", t.A, type, {H});
  require(t.B.defined() && t.B.dim() == 4, "[{}] B_BLGN: expected [{}, {}, G, N], got {}", op, B, L, describe(t.B));
  const std::int64_t G = t.B.size(2), N = t.B.size(3);
  check_tensor(op, "B_BLGN", t.B, type, {B, L, G, N});
  require(G > 0 && H % G == 0 && N > 0, "[{}] B_BLGN: expected groups that divide the {} heads and N > 0, got {}", op,
          H, describe(t.B));
  check_tensor(op, "C_BLGN", t.C, type, {B, L, G, N});
  check_optional(op, "D_H", t.D, type, {H});
  check_optional(op, "dt_bias_H", t.dt_bias, type, {H});
  check_optional(op, "h0_BHPN", t.h0, type, {B, H, P, N});
  require(o.chunk > 0, "[{}] chunk: expected > 0, got {}", op, o.chunk);
  require(o.dt_min >= 0, "[{}] dt_min: expected >= 0 (0: none), got {}", op, o.dt_min);
  require(o.dt_max >= o.dt_min, "[{}] dt_max: expected at least dt_min, {}, got {}", op, o.dt_min, o.dt_max);
}

// Rows keep their strides; the small tensors become contiguous.
Arguments dense(const Arguments& t) {
  return {with_dense_rows(t.x),
          t.dt,
          t.A.contiguous(),
          with_dense_rows(t.B),
          with_dense_rows(t.C),
          contiguous_or_undefined(t.D),
          contiguous_or_undefined(t.dt_bias),
          contiguous_or_undefined(t.h0)};
}

template <class T>
ssd_detail::Rows<T> rows(const at::Tensor& t) {
  return {t.const_data_ptr<T>(), t.stride(0), t.stride(1), t.stride(2)};
}

template <class T>
const T* data(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

template <class T>
T* mutable_data(const at::Tensor& t) {
  return t.defined() ? t.data_ptr<T>() : nullptr;
}

// Small states: short chunks, since the work on pairs of steps grows with the chunk and outweighs that on states.
std::int64_t chunk_for(std::int64_t P, std::int64_t N, std::int64_t most) {
  return std::min<std::int64_t>(most, P * N <= 512 ? 16 : P * N < 4096 ? 32 : most);
}

template <class T>
Args<T> make_args(const Arguments& t, const SsdOptions& o) {
  Args<T> a;
  a.B = t.x.size(0), a.L = t.x.size(1), a.H = t.x.size(2), a.P = t.x.size(3), a.G = t.B.size(2), a.N = t.B.size(3);
  a.chunk = chunk_for(a.P, a.N, o.chunk), a.softplus = o.softplus;
  a.dt_min = o.dt_min > 0 ? static_cast<T>(o.dt_min) : -std::numeric_limits<T>::infinity();
  a.dt_max = static_cast<T>(o.dt_max);
  a.x = rows<T>(t.x), a.dt = rows<T>(t.dt), a.Bm = rows<T>(t.B), a.Cm = rows<T>(t.C);
  a.A = data<T>(t.A), a.D = data<T>(t.D), a.bias = data<T>(t.dt_bias), a.h0 = data<T>(t.h0);
  return a;
}

// One of three passes that follow each other: its tasks and their multiply-adds, counted for the whole batch. The tasks
// of one sequence lie together.
struct Pass {
  std::int64_t tasks, macs;
  void (*function)(const Args<float>&, std::int64_t, std::int64_t);
};

// Enough sequences: a thread takes one through all passes, with one start of threads instead of three.
void run(const Args<float>& a, std::initializer_list<Pass> passes) {
  if (a.B >= 2 * at::get_num_threads()) {
    double nanoseconds = 0;
    for (const Pass& pass : passes) nanoseconds += static_cast<double>(pass.macs) / (kMacsANanosecond * a.B);
    parallel_tasks(a.B, grain_for(nanoseconds), [&](std::int64_t begin, std::int64_t end) {
      for (const Pass& pass : passes) pass.function(a, pass.tasks / a.B * begin, pass.tasks / a.B * end);
    });
    return;
  }
  for (const Pass& pass : passes) {
    const double tasks = static_cast<double>(std::max<std::int64_t>(pass.tasks, 1));
    parallel_tasks(pass.tasks, grain_for(static_cast<double>(pass.macs) / (kMacsANanosecond * tasks)),
                   [&](std::int64_t begin, std::int64_t end) { pass.function(a, begin, end); });
  }
}

std::int64_t state_macs(const Args<float>& a) { return a.B * a.L * a.H * (a.P * a.N + 128); }
std::int64_t pair_macs(const Args<float>& a) { return a.B * a.L * a.H * a.chunk * (a.P + a.N + 16); }

// y, the last state, and what the backward pass needs: the states between chunks and the chunks' decays.
variable_list forward_pass(const Arguments& t, const SsdOptions& o) {
  const at::Tensor y = empty_output(t.x.sizes(), t.x.options());
  const at::Tensor h = at::empty({t.x.size(0), t.x.size(2), t.x.size(3), t.B.size(3)}, t.x.options());
  if (t.x.scalar_type() == at::kDouble) {
    auto a = make_args<double>(t, o);
    a.y = y.data_ptr<double>(), a.h = h.data_ptr<double>();
    reference_forward(a);
    return {y, h, at::Tensor(), at::Tensor()};
  }
  auto a = make_args<float>(t, o);
  if (on_device(t.x)) {
    const at::Tensor states = at::empty({cuda_state_floats(a)}, t.x.options());
    a.y = y.data_ptr<float>(), a.h = h.data_ptr<float>(), a.states = states.data_ptr<float>();
    launch("ssd", t.x, device_launches()->ssd_forward, a);
    return {y, h, states, at::Tensor()};
  }
  const at::Tensor states = at::empty({state_floats(a)}, t.x.options());
  const at::Tensor decay = at::empty({head_tasks(a)}, t.x.options());
  a.y = y.data_ptr<float>(), a.h = h.data_ptr<float>();
  a.states = states.data_ptr<float>(), a.decay = decay.data_ptr<float>();
  run(a, {{head_tasks(a), state_macs(a), ssd_detail::chunk_states},
          {pass_tasks(a), state_macs(a) / a.chunk, ssd_detail::pass_states},
          {group_tasks(a), state_macs(a) + pair_macs(a), ssd_detail::outputs}});
  return {y, h, states, decay};
}

// The gradients in the order of Arguments.
variable_list backward_pass(const Arguments& t, const SsdOptions& o, const at::Tensor& states, const at::Tensor& decay,
                            const at::Tensor& dy, const at::Tensor& dh) {
  const auto like = [](const at::Tensor& x) { return x.defined() ? empty_output(x.sizes(), x.options()) : at::Tensor(); };
  variable_list grads = {like(t.x), like(t.dt), like(t.A),       like(t.B),
                         like(t.C), like(t.D),  like(t.dt_bias), like(t.h0)};
  const auto fill = [&](auto& a) {
    using T = std::remove_cv_t<std::remove_pointer_t<decltype(a.y)>>;
    a.dy = rows<T>(dy), a.dh = data<T>(dh);
    a.dx = mutable_data<T>(grads[0]), a.ddt = mutable_data<T>(grads[1]), a.dB = mutable_data<T>(grads[3]);
    a.dC = mutable_data<T>(grads[4]), a.dh0 = mutable_data<T>(grads[7]);
  };
  if (t.x.scalar_type() == at::kDouble) {
    auto a = make_args<double>(t, o);
    fill(a);
    a.dA = mutable_data<double>(grads[2]), a.dD = mutable_data<double>(grads[5]);
    a.dbias = mutable_data<double>(grads[6]);
    reference_backward(a);
    return grads;
  }
  auto a = make_args<float>(t, o);
  fill(a);
  if (on_device(t.x)) {
    const at::Tensor workspace = at::empty({cuda_workspace_floats(a)}, t.x.options());
    a.states = states.data_ptr<float>();
    a.dA = mutable_data<float>(grads[2]), a.dD = mutable_data<float>(grads[5]);
    a.dbias = mutable_data<float>(grads[6]);
    launch("ssd", t.x, device_launches()->ssd_backward, a, workspace.data_ptr<float>());
    return grads;
  }
  const auto partial = [&](const at::Tensor& x) {
    return x.defined() ? at::empty({a.B * a.chunks(), a.H}, t.x.options()) : at::Tensor();
  };
  const at::Tensor dstates = at::empty({state_floats(a)}, t.x.options());
  const at::Tensor dA = partial(t.A), dD = partial(t.D), dbias = partial(t.dt_bias);
  a.states = states.data_ptr<float>(), a.decay = decay.data_ptr<float>(), a.dstates = dstates.data_ptr<float>();
  a.dA = mutable_data<float>(dA), a.dD = mutable_data<float>(dD), a.dbias = mutable_data<float>(dbias);
  run(a, {{head_tasks(a), state_macs(a), ssd_detail::chunk_gradients},
          {pass_tasks(a), state_macs(a) / a.chunk, ssd_detail::pass_gradients},
          {group_tasks(a), 3 * state_macs(a) + 2 * pair_macs(a), ssd_detail::gradients}});
  grads[2] = sum_over_first(dA), grads[5] = sum_over_first(dD), grads[6] = sum_over_first(dbias);
  return grads;
}

class Ssd : public torch::autograd::Function<Ssd> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& dt, const at::Tensor& A,
                               const at::Tensor& B, const at::Tensor& C, const std::optional<at::Tensor>& D,
                               const std::optional<at::Tensor>& dt_bias, const std::optional<at::Tensor>& h0,
                               const SsdOptions& options) {
    const Arguments given{
        x, dt, A, B, C, D.value_or(at::Tensor()), dt_bias.value_or(at::Tensor()), h0.value_or(at::Tensor())};
    const auto out = forward_pass(dense(given), options);
    context->save_for_backward(
        {given.x, given.dt, given.A, given.B, given.C, given.D, given.dt_bias, given.h0, out[2], out[3]});
    context->saved_data["softplus"] = options.softplus;
    context->saved_data["dt_min"] = options.dt_min;
    context->saved_data["dt_max"] = options.dt_max;
    context->saved_data["chunk"] = options.chunk;
    return {out[0], out[1]};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto s = context->get_saved_variables();
    auto& saved = context->saved_data;
    const SsdOptions options{saved["softplus"].toBool(), saved["dt_min"].toDouble(), saved["dt_max"].toDouble(),
                             saved["chunk"].toInt()};
    const Arguments t = dense({s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]});
    const at::Tensor dy = gradients[0].defined() ? with_dense_rows(gradients[0]) : at::zeros_like(t.x);
    auto grads = backward_pass(t, options, s[8], s[9], dy, contiguous_or_undefined(gradients[1]));
    grads.emplace_back();  // of the options
    return grads;
  }
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> ssd(const at::Tensor& x_BLHP, const at::Tensor& dt_BLH, const at::Tensor& A_H,
                                       const at::Tensor& B_BLGN, const at::Tensor& C_BLGN, const at::Tensor& D_H,
                                       const at::Tensor& dt_bias_H, const at::Tensor& h0_BHPN,
                                       const SsdOptions& options) {
  if (is_bfloat16(x_BLHP)) {
    const auto [y, h] = ssd(widen(x_BLHP), widen(dt_BLH), widen(A_H), widen(B_BLGN), widen(C_BLGN), widen(D_H),
                            widen(dt_bias_H), widen(h0_BHPN), options);
    return {narrow(y), h};
  }
  const Arguments t{x_BLHP, dt_BLH, A_H, B_BLGN, C_BLGN, D_H, dt_bias_H, h0_BHPN};
  check("ssd", t, options);
  if (needs_gradient({&t.x, &t.dt, &t.A, &t.B, &t.C, &t.D, &t.dt_bias, &t.h0})) {
    const auto out =
        Ssd::apply(t.x, t.dt, t.A, t.B, t.C, if_defined(t.D), if_defined(t.dt_bias), if_defined(t.h0), options);
    return {out[0], out[1]};
  }
  const auto out = forward_pass(dense(t), options);
  return {out[0], out[1]};
}

void ssd_state_update_out(const at::Tensor& y_BHP, const at::Tensor& h_BHPN, const at::Tensor& x_BHP,
                          const at::Tensor& dt_BH, const at::Tensor& A_H, const at::Tensor& B_BGN,
                          const at::Tensor& C_BGN, const at::Tensor& D_H, const at::Tensor& dt_bias_H,
                          const SsdOptions& options) {
  const char* op = "ssd_state_update";
  const c10::AutoGradMode no_gradient(false);
  check_leading(op, "x_BHP", x_BHP, 3);
  require(dt_BH.defined() && dt_BH.dim() == 2, "[{}] dt_BH: expected [B, H], got {}", op, describe(dt_BH));
  require(B_BGN.defined() && B_BGN.dim() == 3, "[{}] B_BGN: expected [B, G, N], got {}", op, describe(B_BGN));
  require(C_BGN.defined() && C_BGN.dim() == 3, "[{}] C_BGN: expected [B, G, N], got {}", op, describe(C_BGN));
  require(h_BHPN.defined() && h_BHPN.is_contiguous(), "[{}] h_BHPN: expected a contiguous tensor, got {}", op,
          describe(h_BHPN));
  check_tensor(op, "y_BHP", y_BHP, kind_of(x_BHP), x_BHP.sizes().vec());
  require(y_BHP.is_contiguous(), "[{}] y_BHP: expected a contiguous tensor", op);
  const Arguments given{
      x_BHP.unsqueeze(1), dt_BH.unsqueeze(1), A_H, B_BGN.unsqueeze(1), C_BGN.unsqueeze(1), D_H, dt_bias_H, h_BHPN};
  check(op, given, options);
  const Arguments t = dense(given);
  if (x_BHP.scalar_type() == at::kDouble) {
    auto a = make_args<double>(t, options);
    a.y = y_BHP.data_ptr<double>(), a.h = h_BHPN.data_ptr<double>();
    reference_forward(a);
    return;
  }
  auto a = make_args<float>(t, options);
  a.y = y_BHP.data_ptr<float>(), a.h = h_BHPN.data_ptr<float>();
  if (on_device(x_BHP)) return launch(op, x_BHP, device_launches()->ssd_step, a);
  run(a, {{step_tasks(a), 2 * state_macs(a), ssd_detail::step}});
}

at::Tensor ssd_state_update(const at::Tensor& h_BHPN, const at::Tensor& x_BHP, const at::Tensor& dt_BH,
                            const at::Tensor& A_H, const at::Tensor& B_BGN, const at::Tensor& C_BGN,
                            const at::Tensor& D_H, const at::Tensor& dt_bias_H, const SsdOptions& options) {
  check_leading("ssd_state_update", "x_BHP", x_BHP, 3);
  const at::Tensor y = at::empty(x_BHP.sizes(), x_BHP.options());
  ssd_state_update_out(y, h_BHPN, x_BHP, dt_BH, A_H, B_BGN, C_BGN, D_H, dt_bias_H, options);
  return y;
}

}  // namespace hymba::kernels
