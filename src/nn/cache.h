// Caches of a generating model. What a tensor here owns is what `exact` cache accounting counts, byte for byte.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace hymba {

// For whom a cache is made. capacity: positions of a sequence, meta tokens included.
struct CacheShape {
  std::int64_t batch = 1, capacity = 0;
  at::ScalarType kv_type = at::kFloat;  // of K and V: float32, bfloat16 or float16; states are always float32
  at::Device device = at::kCPU;
};

// K and V as one attention layer sees them in one pass, in float32: key j is at position j for j < prefix, else
// j + key_gap; the first query is at q_start. `unordered`: a decode step on a full ring; every key is visible, in any
// order.
struct KvView {
  at::Tensor k_BSKP, v_BSKV;
  std::int64_t key_gap = 0;
  std::int64_t q_start = 0;
  bool unordered = false;
};

// K and V of one producer layer. Slots 0 .. prefix-1 are pinned (meta tokens), then either all later positions in
// order (window < 0), or a ring in which position t lives in slot prefix + (t - prefix) % window.
class KvCache {
 public:
  KvCache() = default;
  // window counts the query's own position.
  KvCache(const CacheShape& shape, std::int64_t window, std::int64_t prefix, std::int64_t kv_heads, std::int64_t k_dim,
          std::int64_t v_dim);

  // Appends L positions that start at `position` and returns what queries at these positions see. They are rounded to
  // the cache's type first, so that a prompt gives the same in chunks of any size.
  KvView append(const at::Tensor& k_BLKP, const at::Tensor& v_BLKV, std::int64_t position);
  // One decoding step: each sequence's row goes to its position lengths_B[b] - 1 (on the cache's device). Allocates
  // nothing. On the CPU an Error where a position has no slot; on a GPU lengths are not read back.
  void append_step(const at::Tensor& k_BKP, const at::Tensor& v_BKV, const at::Tensor& lengths_B);

  KvCache sequence(std::int64_t b) const;  // a view: writes go into this cache
  // The first `position` positions of the sequences rows_N of another cache, of this shape but for batch and capacity.
  void copy_rows(const KvCache& from, const at::Tensor& rows_N, std::int64_t position);
  void copy_prefix(const KvCache& from);   // the pinned slots of a cache with one sequence, into all sequences here

  std::int64_t bytes() const;
  std::int64_t slots() const { return k_.defined() ? k_.size(1) : 0; }
  std::int64_t prefix() const { return prefix_; }
  const at::Tensor& k() const { return k_; }
  const at::Tensor& v() const { return v_; }

 private:
  bool is_ring() const { return window_ >= 0 && prefix_ + window_ <= k_.size(1); }
  void store(const at::Tensor& k, const at::Tensor& v, std::int64_t position);
  KvView ordered(std::int64_t position) const;
  at::Tensor k_, v_;
  std::int64_t window_ = -1, prefix_ = 0;
};

// State of one recurrent mixer: the last W-1 inputs of the convolution and the SSM state, both fp32.
struct StateCache {
  at::Tensor conv_BSE;
  at::Tensor ssm;  // [B,E,N] (Mamba) or [B,H,P,N] (Mamba-2)
  std::int64_t bytes() const;
  StateCache sequence(std::int64_t b) const;
};

struct MixerCache {
  std::optional<KvCache> kv;
  std::optional<StateCache> state;
  std::int64_t bytes() const;
  MixerCache sequence(std::int64_t b) const;
};

// One MixerCache for every mixer of every sublayer, and how many positions (meta tokens included) went in.
struct ModelCache {
  std::int64_t batch = 0;
  std::int64_t capacity = 0;
  std::int64_t position = 0;
  std::vector<std::vector<MixerCache>> sublayers;
  std::int64_t bytes() const;
  // Sequence b alone, at `at` positions: a view, no copy.
  ModelCache sequence(std::int64_t b, std::int64_t at) const;
  // Becomes sequences rows_N (int64) of `from`, each as often as it is named: texts that begin alike and go on apart.
  // This cache is empty, of the same model, and holds as many sequences as rows_N names.
  void copy_rows(const ModelCache& from, const at::Tensor& rows_N);
  // Back to what `start` holds (one sequence, its prefix alone), or to nothing where that is null.
  void restart(const ModelCache* start);
};

}  // namespace hymba
