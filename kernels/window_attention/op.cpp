#include "kernels/window_attention/op.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/isa.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/widen.h"
#include "kernels/window_attention/kernel.h"

namespace hymba::kernels {
namespace {

using namespace window_attention_detail;  // NOLINT
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kOp = "window_attention";

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const WindowAttentionOptions& options) {
  check_leading(kOp, "q_BLHP", q, 4);
  const Kind type = kind_of(q);
  const std::int64_t B = q.size(0), L = q.size(1), H = q.size(2), P = q.size(3);
  require(k.defined() && k.dim() == 4, "[{}] k_BSKP: expected [{}, S, K, {}], got {}", kOp, B, P, describe(k));
  const std::int64_t S = k.size(1), K = k.size(2);
  check_tensor(kOp, "k_BSKP", k, type, {B, S, K, P});
  require(v.defined() && v.dim() == 4, "[{}] v_BSKV: expected [{}, {}, {}, Vd], got {}", kOp, B, S, K, describe(v));
  check_tensor(kOp, "v_BSKV", v, type, {B, S, K, v.size(3)});
  require(P > 0 && K > 0 && H % K == 0,
          "[{}] q_BLHP: expected P > 0 and heads that are a multiple of the {} KV heads, got {}", kOp, K, describe(q));
  require(options.window == -1 || options.window > 0, "[{}] window: expected -1 or > 0, got {}", kOp, options.window);
  require(options.prefix >= 0, "[{}] prefix: expected >= 0, got {}", kOp, options.prefix);
  require(options.key_gap >= 0, "[{}] key_gap: expected >= 0, got {}", kOp, options.key_gap);
  require(options.q_start >= -1, "[{}] q_start: expected -1 or >= 0, got {}", kOp, options.q_start);
  require(options.scale >= 0, "[{}] scale: expected >= 0 (0: 1/sqrt(P)), got {}", kOp, options.scale);
  constexpr std::int64_t kMost = std::int64_t{1} << 29;  // positions plus a window stay within int32
  require(S + options.key_gap < kMost && options.q_start + L < kMost && options.window < kMost,
          "[{}] q_start, key_gap, window: expected positions below 2^29, got {}, {}, {}", kOp, options.q_start,
          options.key_gap, options.window);
}

template <class T>
window_attention_detail::Rows<const T> view(const at::Tensor& x) {
  return {x.const_data_ptr<T>(), x.stride(0), x.stride(1), x.stride(2)};
}

template <class T>
Args<T> args_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const WindowAttentionOptions& o) {
  Args<T> a;
  a.B = q.size(0), a.L = q.size(1), a.H = q.size(2), a.P = q.size(3);
  a.S = k.size(1), a.K = k.size(2), a.V = v.size(3);
  a.window = o.window, a.prefix = o.prefix, a.key_gap = o.key_gap;
  a.q_start = o.q_start >= 0 ? o.q_start : a.key_position(a.S - 1) - a.L + 1;
  require(a.q_start >= 0, "[{}] q_start: expected at least as many keys as queries where -1, got L={} S={}", kOp, a.L,
          a.S);
  a.scale = static_cast<T>(o.scale > 0 ? o.scale : 1 / std::sqrt(static_cast<double>(a.P)));
  a.q = view<T>(q), a.k = view<T>(k), a.v = view<T>(v);
  return a;
}

void run_forward(Args<double>& a, const at::Tensor&, bool) { reference_forward(a); }

// Time of `per_pair` multiply-adds, at about 20 a nanosecond, for each pair of one task's rows and the keys they visit.
double task_nanoseconds(const Args<float>& a, std::int64_t rows, std::int64_t per_pair) {
  const std::int64_t seen = a.window < 0 ? a.S : std::min(a.S, a.window + a.prefix);
  return static_cast<double>(rows * seen) * static_cast<double>(per_pair + 16) / 20.0;
}

void run_forward(Args<float>& a, const at::Tensor& q, bool bf16_products) {
  if (on_device(q)) return launch(kOp, q, device_launches()->attention_forward, a);
  at::Tensor pairs;
  if (bf16_products) {
    pairs = at::empty({PairLayout(a).floats(a)}, q.options());
    a.pairs = pairs.data_ptr<float>();
    parallel_tasks(round_tasks(a), [&](std::int64_t begin, std::int64_t end) { cpu_round(a, begin, end); });
  }
  const std::int64_t rows = std::min(kTaskRows, a.L * (a.H / a.K));
  parallel_tasks(forward_tasks(a), grain_for(task_nanoseconds(a, rows, a.P + a.V)),
                 [&](std::int64_t begin, std::int64_t end) { cpu_forward(a, begin, end); });
}

void run_backward(Args<double>& a) { reference_backward(a); }

void run_backward(Args<float>& a, const at::TensorOptions& options) {
  // Few (batch, KV head) pairs: cut the queries too, by the shape alone, so that the sums do not depend on the threads.
  constexpr std::int64_t kTasks = 8;
  const std::int64_t pairs = std::max<std::int64_t>(a.B * a.K, 1);
  a.chunks = std::clamp<std::int64_t>((kTasks + pairs - 1) / pairs, 1, std::max<std::int64_t>(row_tasks(a), 1));
  at::Tensor partial = at::empty({partial_floats(a)}, options);
  a.partial = partial.data_ptr<float>();
  const double nanoseconds = task_nanoseconds(a, a.L * (a.H / a.K) / a.chunks, 3 * a.P + 2 * a.V);
  parallel_tasks(backward_tasks(a), grain_for(nanoseconds),
                 [&](std::int64_t begin, std::int64_t end) { cpu_backward(a, begin, end); });
  if (a.chunks > 1) {
    parallel_tasks(a.B * a.S * a.K, 256, [&](std::int64_t begin, std::int64_t end) { cpu_reduce(a, begin, end); });
  }
}

template <class T>
variable_list backward_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& o,
                          const at::Tensor& lse, const at::Tensor& d_o, const WindowAttentionOptions& options) {
  auto a = args_of<T>(q, k, v, options);
  auto dq = empty_output(q.sizes(), q.options()), dk = empty_output(k.sizes(), k.options());
  auto dv = empty_output(v.sizes(), v.options());
  const at::Tensor rows = with_dense_rows(d_o);
  a.o = view<T>(o), a.d_o = view<T>(rows);
  a.lse = lse.data_ptr<T>();
  a.dq = dq.data_ptr<T>(), a.dk = dk.data_ptr<T>(), a.dv = dv.data_ptr<T>();
  if constexpr (std::is_same_v<T, float>) {
    if (on_device(q)) {
      const at::Tensor workspace = at::empty({a.B * a.H * a.L}, q.options());
      launch(kOp, q, device_launches()->attention_backward, a, workspace.data_ptr<float>());
      return {dq, dk, dv, at::Tensor()};
    }
    run_backward(a, q.options());
  } else {
    run_backward(a);
  }
  return {dq, dk, dv, at::Tensor()};
}

// o and, in what becomes *lse, what the backward pass needs.
at::Tensor forward_pass(const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& v_in,
                        const WindowAttentionOptions& options, at::Tensor* lse) {
  const at::Tensor q = with_dense_rows(q_in), k = with_dense_rows(k_in), v = with_dense_rows(v_in);
  at::Tensor o = empty_output({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
  *lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options());
  if (o.numel() == 0) return o;
  if (k.size(1) == 0) return o.zero_();
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), kOp, [&] {
    auto a = args_of<scalar_t>(q, k, v, options);
    a.out = o.data_ptr<scalar_t>(), a.lse = lse->data_ptr<scalar_t>();
    run_forward(a, q, options.bf16_products);
  });
  return o;
}

class WindowAttention : public torch::autograd::Function<WindowAttention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const WindowAttentionOptions& options) {
    at::Tensor lse;
    const at::Tensor o = forward_pass(q, k, v, options, &lse);
    context->save_for_backward({q, k, v, o, lse});
    context->saved_data["window"] = options.window;
    context->saved_data["prefix"] = options.prefix;
    context->saved_data["q_start"] = options.q_start;
    context->saved_data["key_gap"] = options.key_gap;
    context->saved_data["scale"] = options.scale;
    return o;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor q = with_dense_rows(saved[0]), k = with_dense_rows(saved[1]), v = with_dense_rows(saved[2]);
    auto& data = context->saved_data;
    const WindowAttentionOptions options{data["window"].toInt(), data["prefix"].toInt(), data["q_start"].toInt(),
                                         data["key_gap"].toInt(), data["scale"].toDouble()};
    if (!gradients[0].defined()) return {at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
    if (saved[3].numel() == 0 || k.size(1) == 0) {
      return {at::zeros_like(q), at::zeros_like(k), at::zeros_like(v), at::Tensor()};
    }
    return q.scalar_type() == at::kFloat ? backward_of<float>(q, k, v, saved[3], saved[4], gradients[0], options)
                                         : backward_of<double>(q, k, v, saved[3], saved[4], gradients[0], options);
  }
};

}  // namespace

at::Tensor window_attention(const at::Tensor& q_BLHP, const at::Tensor& k_BSKP, const at::Tensor& v_BSKV,
                            const WindowAttentionOptions& options) {
  if (is_bfloat16(q_BLHP)) return narrow(window_attention(widen(q_BLHP), widen(k_BSKP), widen(v_BSKV), options));
  check(q_BLHP, k_BSKP, v_BSKV, options);
  at::Tensor lse;
  const bool differentiable = needs_gradient({&q_BLHP, &k_BSKP, &v_BSKV});
  require(!options.bf16_products || (multiplies_bf16() && !differentiable && q_BLHP.is_cpu() && q_BLHP.scalar_type() == at::kFloat),
          "[{}] bf16_products: expected float32 on a CPU with AVX-512 BF16 and no gradients, got {}{}", kOp, describe(q_BLHP),
          differentiable ? " with gradients" : "");
  if (!differentiable) return forward_pass(q_BLHP, k_BSKP, v_BSKV, options, &lse);
  return WindowAttention::apply(q_BLHP, k_BSKP, v_BSKV, options);
}

}  // namespace hymba::kernels
