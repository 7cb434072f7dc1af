// Attention of a decoding step: one query a sequence against its KV cache, in place. README.md has the equations.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hymba::kernels {

// The cache of a sequence has S slots: position t lives in slot t for t < prefix (meta tokens, pinned), else in slot
// prefix + (t - prefix) % (S - prefix). The query is at the sequence's last position, lengths[b] - 1, whose key is in
// the cache already; it sees positions t < prefix and the last `window` ones, its own included.
struct DecodeAttentionOptions {
  std::int64_t window = -1;  // -1: all positions; the cache must hold them
  std::int64_t prefix = 0;
  double scale = 0;  // 0: 1/sqrt(P)
};

// q_BHP [B,H,P] float32; k_BSKP [B,S,K,P] and v_BSKV [B,S,K,Vd] float32, bfloat16 or float16 (both the same); H % K
// == 0, query head h reads KV head h / (H/K). lengths_B [B] int64: positions of each sequence (0: its o is zero).
// Writes o_BHV [B,H,Vd] float32, contiguous. Axes before the last may be strided; nothing is copied, no graph is kept.
// float64 tensors run the plain reference.
void decode_attention_out(const at::Tensor& o_BHV, const at::Tensor& q_BHP, const at::Tensor& k_BSKP,
                          const at::Tensor& v_BSKV, const at::Tensor& lengths_B,
                          const DecodeAttentionOptions& options = {});

// The same into a new tensor.
at::Tensor decode_attention(const at::Tensor& q_BHP, const at::Tensor& k_BSKP, const at::Tensor& v_BSKV,
                            const at::Tensor& lengths_B, const DecodeAttentionOptions& options = {});

// On a GPU: the rows k_BKP and v_BKV (float32) of a step into the slots of positions lengths_B - 1, in the cache's type.
// `ring`: the slots behind the prefix go around. A position without a slot is not written.
void append_on_device(const at::Tensor& k_cache_BSKP, const at::Tensor& v_cache_BSKV, const at::Tensor& k_BKP,
                      const at::Tensor& v_BKV, const at::Tensor& lengths_B, std::int64_t prefix, bool ring);

}  // namespace hymba::kernels
