#include "kernels/decode_attention/op.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/decode_attention/kernel.h"
#include "kernels/parallel.h"
#include "kernels/storage_of.h"

namespace hymba::kernels {
namespace {

using decode_detail::Args;

constexpr const char* kOp = "decode_attention";

void check_cache(const char* arg, const at::Tensor& t, std::int64_t B, const Kind& kind) {
  const bool half = t.defined() && is_half_width(t.scalar_type()) && kind.type == at::kFloat;
  require(t.defined() && t.device() == kind.device && t.dim() == 4 && t.size(0) == B &&
              (half || t.scalar_type() == kind.type),
          "[{}] {}: expected [{}, S, K, dim] in float32, bfloat16 or float16 on {}, got {}", kOp, arg, B,
          kind.device.str(), describe(t));
  require(t.size(3) <= 1 || t.stride(3) == 1, "[{}] {}: expected a last axis without gaps", kOp, arg);
}

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& lengths,
           const DecodeAttentionOptions& o) {
  check_leading(kOp, "q_BHP", q, 3);
  const std::int64_t B = q.size(0), H = q.size(1), P = q.size(2);
  require(q.size(2) <= 1 || q.stride(2) == 1, "[{}] q_BHP: expected a last axis without gaps", kOp);
  check_cache("k_BSKP", k, B, kind_of(q));
  check_cache("v_BSKV", v, B, kind_of(q));
  const std::int64_t S = k.size(1), K = k.size(2);
  require(k.size(3) == P && P > 0, "[{}] k_BSKP: expected [{}, S, K, {}], got {}", kOp, B, P, describe(k));
  require(v.size(1) == S && v.size(2) == K && v.scalar_type() == k.scalar_type(),
          "[{}] v_BSKV: expected [{}, {}, {}, Vd] in the type of k, got {}", kOp, B, S, K, describe(v));
  require(K > 0 && H % K == 0, "[{}] q_BHP: expected heads that are a multiple of the {} KV heads, got {}", kOp, K,
          describe(q));
  require(o.window == -1 || o.window > 0, "[{}] window: expected -1 or > 0, got {}", kOp, o.window);
  require(o.prefix >= 0, "[{}] prefix: expected >= 0, got {}", kOp, o.prefix);
  require(o.scale >= 0, "[{}] scale: expected >= 0 (0: 1/sqrt(P)), got {}", kOp, o.scale);
  require(lengths.defined() && lengths.device() == q.device() && lengths.scalar_type() == at::kLong && lengths.dim() == 1 &&
              lengths.size(0) == B && lengths.is_contiguous(),
          "[{}] lengths_B: expected int64 [{}], got {}", kOp, B, describe(lengths));
  if (on_device(q)) return;  // lengths are not read back: slots that the cache does not have are not visited
  for (std::int64_t b = 0; b < B; ++b) {
    const std::int64_t length = data<const std::int64_t>(lengths)[b];
    const auto visible = decode_detail::visible_slots(S, o.window, o.prefix, length);
    require(length >= 0 && std::min(o.prefix, length) <= S && visible.ring_positions <= S - std::min(o.prefix, S),
            "[{}] lengths_B: expected what {} slots with a prefix of {} and window {} can hold, got {} for sequence {}",
            kOp, S, o.prefix, o.window, length, b);
  }
}

void run_reference(const at::Tensor& out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& lengths, const DecodeAttentionOptions& o, double scale) {
  const at::Tensor dense_q = q.contiguous(), dense_k = k.contiguous(), dense_v = v.contiguous();
  decode_detail::reference({q.size(0), k.size(1), q.size(1), k.size(2), q.size(2), v.size(3), o.window, o.prefix, scale,
                            data<const double>(dense_q), data<const double>(dense_k), data<const double>(dense_v),
                            data<const std::int64_t>(lengths), data<double>(out)});
}

void run_device(const at::Tensor& out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& lengths, const DecodeAttentionOptions& o, double scale) {
  decode_detail::CudaArgs a;
  a.B = q.size(0), a.H = q.size(1), a.P = q.size(2), a.S = k.size(1), a.K = k.size(2), a.V = v.size(3);
  a.window = o.window, a.prefix = o.prefix, a.scale = static_cast<float>(scale);
  a.type = decode_detail::cache_type(storage_of(k));
  a.q = data<const float>(q), a.k = k.const_data_ptr(), a.v = v.const_data_ptr(), a.out = data<float>(out);
  a.q_batch = q.stride(0), a.q_head = q.stride(1);
  a.k_batch = k.stride(0), a.k_slot = k.stride(1), a.k_head = k.stride(2);
  a.v_batch = v.stride(0), a.v_slot = v.stride(1), a.v_head = v.stride(2);
  a.lengths = data<const std::int64_t>(lengths);
  const at::Tensor workspace = at::empty({decode_detail::cuda_workspace_floats(a)}, q.options());
  launch(kOp, q, device_launches()->decode, a, data<float>(workspace));
}

// Enough tasks for both cores at a batch of one: first the keys are cut, then the KV heads.
void cut(Args* a) {
  const std::int64_t most = a->window < 0 ? a->S : std::min(a->S, a->prefix + a->window);
  const std::int64_t wanted = (decode_detail::kTasks + a->B - 1) / a->B;
  a->splits = std::clamp<std::int64_t>(most / decode_detail::kSplitKeys, 1, wanted);
  a->head_parts = std::clamp<std::int64_t>((wanted + a->splits - 1) / a->splits, 1, a->K);
}

}  // namespace

void decode_attention_out(const at::Tensor& out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& lengths, const DecodeAttentionOptions& o) {
  check(q, k, v, lengths, o);
  check_tensor(kOp, "o_BHV", out, kind_of(q), {q.size(0), q.size(1), v.size(3)});
  require(out.is_contiguous(), "[{}] o_BHV: expected a contiguous tensor", kOp);
  if (out.numel() == 0) return;
  const double scale = o.scale > 0 ? o.scale : 1 / std::sqrt(static_cast<double>(q.size(2)));
  if (on_device(q)) return run_device(out, q, k, v, lengths, o, scale);
  if (q.scalar_type() == at::kDouble) return run_reference(out, q, k, v, lengths, o, scale);
  Args a;
  a.B = q.size(0), a.H = q.size(1), a.P = q.size(2), a.S = k.size(1), a.K = k.size(2), a.V = v.size(3);
  a.window = o.window, a.prefix = o.prefix, a.scale = static_cast<float>(scale), a.storage = storage_of(k);
  a.q = data<const float>(q), a.k = k.const_data_ptr(), a.v = v.const_data_ptr(), a.out = data<float>(out);
  a.q_batch = q.stride(0), a.q_head = q.stride(1);
  a.k_batch = k.stride(0), a.k_slot = k.stride(1), a.k_head = k.stride(2);
  a.v_batch = v.stride(0), a.v_slot = v.stride(1), a.v_head = v.stride(2);
  a.lengths = data<const std::int64_t>(lengths);
  cut(&a);
  thread_local std::vector<float> partial;  // kept from call to call
  if (static_cast<std::int64_t>(partial.size()) < a.partial_floats()) partial.resize(a.partial_floats());
  a.partial = partial.data();
  std::int64_t keys = 0;
  for (std::int64_t b = 0; b < a.B; ++b) keys += a.visible(b).total();
  // Multiply-adds at about 8 a nanosecond.
  const double nanoseconds = static_cast<double>(keys * a.H * (a.P + a.V)) / 8.0;
  parallel_tasks(a.tasks(), grain_for(nanoseconds / static_cast<double>(a.tasks())),
                 [&](std::int64_t begin, std::int64_t end) { decode_detail::run(a, begin, end); });
  if (a.splits > 1) {
    parallel_tasks(a.B * a.H, grain_for(0.2 * static_cast<double>(a.V * a.splits)),
                   [&](std::int64_t begin, std::int64_t end) { decode_detail::merge(a, begin, end); });
  }
}

void append_on_device(const at::Tensor& k_cache, const at::Tensor& v_cache, const at::Tensor& k, const at::Tensor& v,
                      const at::Tensor& lengths, std::int64_t prefix, bool ring) {
  constexpr const char* kAppend = "kv_append";
  const Kind kind(at::kFloat, k_cache.device());
  check_cache("k_cache_BSKP", k_cache, k.size(0), kind), check_cache("v_cache_BSKV", v_cache, k.size(0), kind);
  check_tensor(kAppend, "k_BKP", k, kind, {k_cache.size(0), k_cache.size(2), k_cache.size(3)});
  check_tensor(kAppend, "v_BKV", v, kind, {v_cache.size(0), k_cache.size(2), v_cache.size(3)});
  require(on_device(k) && lengths.device() == k.device() && lengths.scalar_type() == at::kLong &&
              lengths.is_contiguous() && lengths.numel() == k.size(0) && k.stride(2) == 1 && v.stride(2) == 1 &&
              v_cache.scalar_type() == k_cache.scalar_type() && v_cache.size(1) == k_cache.size(1),
          "[{}] k_BKP, v_BKV, lengths_B: expected dense rows and int64 [{}] on the cache's device, got {}, {} and {}",
          kAppend, k.size(0), describe(k), describe(v), describe(lengths));
  decode_detail::AppendArgs a;
  a.B = k.size(0), a.S = k_cache.size(1), a.K = k.size(1), a.P = k.size(2), a.V = v.size(2), a.prefix = prefix;
  a.ring = ring, a.type = decode_detail::cache_type(storage_of(k_cache));
  a.k_in = data<const float>(k), a.v_in = data<const float>(v);
  a.k_in_batch = k.stride(0), a.k_in_head = k.stride(1), a.v_in_batch = v.stride(0), a.v_in_head = v.stride(1);
  a.k = k_cache.data_ptr(), a.v = v_cache.data_ptr();
  a.k_batch = k_cache.stride(0), a.k_slot = k_cache.stride(1), a.k_head = k_cache.stride(2);
  a.v_batch = v_cache.stride(0), a.v_slot = v_cache.stride(1), a.v_head = v_cache.stride(2);
  a.lengths = data<const std::int64_t>(lengths);
  launch(kAppend, k, device_launches()->append, a);
}

at::Tensor decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& lengths,
                            const DecodeAttentionOptions& options) {
  check(q, k, v, lengths, options);
  const at::Tensor out = at::empty({q.size(0), q.size(1), v.size(3)}, q.options());
  decode_attention_out(out, q, k, v, lengths, options);
  return out;
}

}  // namespace hymba::kernels
