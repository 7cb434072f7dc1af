#include "nn/cache.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "base/error.h"

namespace hymba {
namespace {

std::int64_t bytes_of(const at::Tensor& t) { return t.defined() ? t.numel() * t.element_size() : 0; }

}  // namespace

KvCache::KvCache(std::int64_t batch, std::int64_t capacity, std::int64_t window, std::int64_t prefix,
                 std::int64_t kv_heads, std::int64_t k_dim, std::int64_t v_dim)
    : window_(window), prefix_(prefix) {
  const std::int64_t slots = window < 0 ? capacity : std::min(capacity, prefix + window);
  k_ = at::zeros({batch, slots, kv_heads, k_dim}, at::kFloat);
  v_ = at::zeros({batch, slots, kv_heads, v_dim}, at::kFloat);
}

std::int64_t KvCache::bytes() const { return bytes_of(k_) + bytes_of(v_); }

// Writes the rows of positions position .. position + L - 1 that are still wanted afterwards into their slots.
void KvCache::store(const at::Tensor& k, const at::Tensor& v, std::int64_t position) {
  const std::int64_t end = position + k.size(1);
  const auto copy = [&](std::int64_t first, std::int64_t last, std::int64_t slot) {  // positions [first, last)
    if (first >= last) return;
    k_.narrow(1, slot, last - first).copy_(k.narrow(1, first - position, last - first));
    v_.narrow(1, slot, last - first).copy_(v.narrow(1, first - position, last - first));
  };
  if (!is_ring()) {
    copy(position, end, position);
    return;
  }
  copy(position, std::min(end, prefix_), position);
  std::int64_t first = std::max({position, prefix_, end - window_});
  while (first < end) {  // one piece up to the ring's end, then from its start
    const std::int64_t offset = (first - prefix_) % window_;
    const std::int64_t last = std::min(end, first + window_ - offset);
    copy(first, last, prefix_ + offset);
    first = last;
  }
}

// What is in the cache before `position`, in order of position.
KvView KvCache::ordered(std::int64_t position) const {
  KvView view;
  if (!is_ring() || position <= prefix_ + window_) {
    const std::int64_t n = std::min(position, k_.size(1));
    view.k_BSKP = k_.narrow(1, 0, n);
    view.v_BSKV = v_.narrow(1, 0, n);
    return view;
  }
  const std::int64_t oldest = (position - prefix_) % window_;  // slot of position - window
  const auto gather = [&](const at::Tensor& t) {
    return at::cat({t.narrow(1, 0, prefix_), t.narrow(1, prefix_ + oldest, window_ - oldest),
                    t.narrow(1, prefix_, oldest)}, 1);
  };
  view.k_BSKP = gather(k_);
  view.v_BSKV = gather(v_);
  view.key_gap = position - prefix_ - window_;
  return view;
}

KvView KvCache::append(const at::Tensor& k, const at::Tensor& v, std::int64_t position) {
  const std::int64_t length = k.size(1), end = position + length;
  require(is_ring() || end <= k_.size(1), "KV cache: position {} does not fit into {} slots; ask for a larger context",
          end, k_.size(1));
  KvView view;
  if (length == 1 || !is_ring()) {  // the new row evicts one that has left the window already
    store(k, v, position);
    const std::int64_t n = std::min(end, k_.size(1));
    view.k_BSKP = k_.narrow(1, 0, n);
    view.v_BSKV = v_.narrow(1, 0, n);
    view.unordered = is_ring() && end > k_.size(1);
  } else {
    view = ordered(position);
    if (position == 0) {
      view.k_BSKP = k;
      view.v_BSKV = v;
    } else {
      view.k_BSKP = at::cat({view.k_BSKP, k}, 1);
      view.v_BSKV = at::cat({view.v_BSKV, v}, 1);
    }
    store(k, v, position);
  }
  view.q_start = position;
  return view;
}

std::int64_t StateCache::bytes() const { return bytes_of(conv_BSE) + bytes_of(ssm); }

std::int64_t MixerCache::bytes() const { return (kv ? kv->bytes() : 0) + (state ? state->bytes() : 0); }

std::int64_t ModelCache::bytes() const {
  std::int64_t n = 0;
  for (const auto& sublayer : sublayers) {
    for (const auto& mixer : sublayer) n += mixer.bytes();
  }
  return n;
}

}  // namespace hymba
