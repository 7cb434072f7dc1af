// What decode attention's implementations take: raw pointers, no torch; and which slots a query sees.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/storage.h"

namespace hymba::kernels::decode_detail {

// Slots [lo, hi) of a sequence's cache.
struct SlotRange {
  std::int64_t lo = 0, hi = 0;
  std::int64_t size() const { return hi - lo; }
};

// What the query of a sequence with `length` positions sees: the pinned slots, then the window, which may go around.
struct Visible {
  SlotRange range[3];
  std::int64_t ring_positions = 0;  // in the ring; more than it has slots: the cache cannot hold them
  std::int64_t total() const { return range[0].size() + range[1].size() + range[2].size(); }
};

inline Visible visible_slots(std::int64_t slots, std::int64_t window, std::int64_t prefix, std::int64_t length) {
  Visible v;
  if (length <= 0) return v;
  v.range[0] = {0, std::min(prefix, length)};
  const std::int64_t first = std::max(prefix, window < 0 ? prefix : length - window), ring = slots - prefix;
  v.ring_positions = std::max<std::int64_t>(length - first, 0);
  if (v.ring_positions == 0 || ring <= 0) return v;
  const std::int64_t count = std::min(v.ring_positions, ring), lo = prefix + (first - prefix) % ring;
  v.range[1] = {lo, std::min(slots, lo + count)};
  v.range[2] = {prefix, prefix + count - v.range[1].size()};
  return v;
}

constexpr std::int64_t kKeyBlock = 32;    // keys whose scores are held at once
constexpr std::int64_t kSplitKeys = 256;  // least keys a split
constexpr std::int64_t kTasks = 8;        // wanted at least, by cutting keys and heads

struct Args {
  std::int64_t B = 0, S = 0, H = 0, K = 0, P = 0, V = 0, window = -1, prefix = 0;
  float scale = 1;
  Storage storage = Storage::kFloat;
  const float* q = nullptr;
  const void *k = nullptr, *v = nullptr;
  std::int64_t q_batch = 0, q_head = 0;  // strides in elements
  std::int64_t k_batch = 0, k_slot = 0, k_head = 0, v_batch = 0, v_slot = 0, v_head = 0;
  const std::int64_t* lengths = nullptr;
  float* out = nullptr;                     // [B,H,V]
  std::int64_t splits = 1, head_parts = 1;  // the most splits of a sequence's keys; parts of the KV heads
  float* partial = nullptr;                 // [B, splits, H, V + 2] where splits > 1: sums of weights * v, maximum, sum

  Visible visible(std::int64_t b) const { return visible_slots(S, window, prefix, lengths[b]); }
  // Splits of a sequence that has this many visible keys: by the shape and the length alone.
  std::int64_t splits_of(std::int64_t keys) const { return std::clamp<std::int64_t>(keys / kSplitKeys, 1, splits); }
  std::int64_t tasks() const { return B * splits * head_parts; }
  std::int64_t partial_floats() const { return splits == 1 ? 0 : B * splits * H * (V + 2); }
};

// Tasks [begin, end), any split; then, where splits > 1, merge() over [0, B * H) (sequence, head) pairs.
void run(const Args& args, std::int64_t begin, std::int64_t end);
void merge(const Args& args, std::int64_t begin, std::int64_t end);

// The definition, in double: contiguous tensors, any slots.
struct ReferenceArgs {
  std::int64_t B, S, H, K, P, V, window, prefix;
  double scale;
  const double *q, *k, *v;
  const std::int64_t* lengths;
  double* out;
};
void reference(const ReferenceArgs& args);

}  // namespace hymba::kernels::decode_detail
