// Causal attention over a sliding window plus a prefix of positions that stay visible (meta tokens). See README.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hymba::kernels {

// The query at position a sees the key at position b if b <= a and (window < 0 or a - b < window or b < prefix).
struct WindowAttentionOptions {
  std::int64_t window = -1;  // W keys, the query's own position included; -1: all
  std::int64_t prefix = 0;   // positions below this are visible to every later query
  std::int64_t q_start =
      -1;                    // position of query 0; query i is at q_start + i. -1: the queries are the last L positions
  std::int64_t key_gap = 0;  // key j is at position j for j < prefix, else at j + key_gap (a cache that dropped keys)
  double scale = 0;          // 0: 1/sqrt(P)
  // q, k, v and the weights of the softmax are rounded to bf16 and sums are in float32. float32 on a CPU without gradients, and only
  // where multiplies_bf16() (isa.h).
  bool bf16_products = false;
};

// q_BLHP [B,L,H,P], k_BSKP [B,S,K,P], v_BSKV [B,S,K,Vd]; H % K == 0; query head h reads KV head h / (H/K).
// Returns o_BLHV [B,L,H,Vd]; differentiable in q, k and v. A query that sees no key gets zeros.
// float32 runs the vector code; float64 runs the plain reference. Views with a unit inner stride are not copied.
at::Tensor window_attention(const at::Tensor& q_BLHP, const at::Tensor& k_BSKP, const at::Tensor& v_BSKV,
                            const WindowAttentionOptions& options);

}  // namespace hymba::kernels
