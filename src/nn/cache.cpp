#include "nn/cache.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "base/error.h"
#include "kernels/decode_attention/op.h"

namespace hymba {
namespace {

std::int64_t bytes_of(const at::Tensor& t) { return t.defined() ? t.numel() * t.element_size() : 0; }

}  // namespace

KvCache::KvCache(const CacheShape& shape, std::int64_t window, std::int64_t prefix, std::int64_t kv_heads,
                 std::int64_t k_dim, std::int64_t v_dim)
    : window_(window), prefix_(prefix) {
  const std::int64_t slots = window < 0 ? shape.capacity : std::min(shape.capacity, prefix + window);
  const auto options = at::TensorOptions(shape.kv_type).device(shape.device);
  k_ = at::zeros({shape.batch, slots, kv_heads, k_dim}, options);
  v_ = at::zeros({shape.batch, slots, kv_heads, v_dim}, options);
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

KvView KvCache::append(const at::Tensor& k_BLKP, const at::Tensor& v_BLKV, std::int64_t position) {
  const at::Tensor k = k_BLKP.to(k_.scalar_type()), v = v_BLKV.to(v_.scalar_type());  // float32: no copy
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
  view.k_BSKP = view.k_BSKP.to(at::kFloat);
  view.v_BSKV = view.v_BSKV.to(at::kFloat);
  view.q_start = position;
  return view;
}

namespace {

// Row b of x [B, heads, dim] goes to slot slot(b) of cache [B, slots, heads, dim], converted.
template <class T, class F>
void store_rows(const at::Tensor& x, const at::Tensor& cache, const F& slot) {
  const float* in = x.const_data_ptr<float>();
  T* out = cache.data_ptr<T>();
  const std::int64_t heads = x.size(1), dim = x.size(2);
  for (std::int64_t b = 0; b < x.size(0); ++b) {
    T* row = out + b * cache.stride(0) + slot(b) * cache.stride(1);
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* head = in + b * x.stride(0) + h * x.stride(1);
      for (std::int64_t i = 0; i < dim; ++i) row[h * dim + i] = static_cast<T>(head[i]);
    }
  }
}

template <class F>
void store_rows_of_type(const at::Tensor& x, const at::Tensor& cache, const F& slot) {
  if (cache.scalar_type() == at::kBFloat16) return store_rows<at::BFloat16>(x, cache, slot);
  if (cache.scalar_type() == at::kHalf) return store_rows<at::Half>(x, cache, slot);
  store_rows<float>(x, cache, slot);
}

}  // namespace

void KvCache::append_step(const at::Tensor& k_BKP, const at::Tensor& v_BKV, const at::Tensor& lengths_B) {
  if (!k_.is_cpu()) return kernels::append_on_device(k_, v_, k_BKP, v_BKV, lengths_B, prefix_, is_ring());
  const std::int64_t* lengths = lengths_B.const_data_ptr<std::int64_t>();
  const std::int64_t ring = k_.size(1) - prefix_;
  const auto slot = [&](std::int64_t b) {
    const std::int64_t t = lengths[b] - 1;
    return t < prefix_ || !is_ring() ? t : prefix_ + (t - prefix_) % ring;
  };
  for (std::int64_t b = 0; b < k_.size(0); ++b) {
    if (slot(b) < 0 || slot(b) >= k_.size(1)) {
      fail("KV cache: position {} does not fit into {} slots; ask for a larger context", lengths[b], k_.size(1));
    }
  }
  store_rows_of_type(k_BKP, k_, slot);
  store_rows_of_type(v_BKV, v_, slot);
}

KvCache KvCache::sequence(std::int64_t b) const {
  KvCache one = *this;
  one.k_ = k_.narrow(0, b, 1);
  one.v_ = v_.narrow(0, b, 1);
  return one;
}

// Slots are those of `from` also where one of the two is a ring and the other is not: a ring that has not come round yet
// holds position t in slot t, and one that has needs a capacity at which both are rings of one size.
void KvCache::copy_rows(const KvCache& from, const at::Tensor& rows_N, std::int64_t position) {
  const std::int64_t n = std::min({position, from.k_.size(1), k_.size(1)});
  if (n < std::min(position, from.k_.size(1))) fail("KV cache: {} slots cannot hold {} positions", k_.size(1), position);
  k_.narrow(1, 0, n).copy_(from.k_.narrow(1, 0, n).index_select(0, rows_N.to(k_.device())));
  v_.narrow(1, 0, n).copy_(from.v_.narrow(1, 0, n).index_select(0, rows_N.to(v_.device())));
}

void KvCache::copy_prefix(const KvCache& from) {
  k_.narrow(1, 0, prefix_).copy_(from.k_.narrow(1, 0, prefix_));
  v_.narrow(1, 0, prefix_).copy_(from.v_.narrow(1, 0, prefix_));
}

std::int64_t StateCache::bytes() const { return bytes_of(conv_BSE) + bytes_of(ssm); }

StateCache StateCache::sequence(std::int64_t b) const { return {conv_BSE.narrow(0, b, 1), ssm.narrow(0, b, 1)}; }

MixerCache MixerCache::sequence(std::int64_t b) const {
  MixerCache one;
  if (kv) one.kv = kv->sequence(b);
  if (state) one.state = state->sequence(b);
  return one;
}

std::int64_t MixerCache::bytes() const { return (kv ? kv->bytes() : 0) + (state ? state->bytes() : 0); }

std::int64_t ModelCache::bytes() const {
  std::int64_t n = 0;
  for (const auto& sublayer : sublayers) {
    for (const auto& mixer : sublayer) n += mixer.bytes();
  }
  return n;
}

ModelCache ModelCache::sequence(std::int64_t b, std::int64_t at) const {
  ModelCache one;
  one.batch = 1;
  one.capacity = capacity;
  one.position = at;
  for (const auto& sublayer : sublayers) {
    one.sublayers.emplace_back();
    for (const auto& mixer : sublayer) one.sublayers.back().push_back(mixer.sequence(b));
  }
  return one;
}

void ModelCache::copy_rows(const ModelCache& from, const at::Tensor& rows_N) {
  if (position != 0 || batch != rows_N.size(0)) fail("cache: {} rows into a cache of {} at {}", rows_N.size(0), batch, position);
  for (std::size_t s = 0; s < sublayers.size(); ++s) {
    for (std::size_t m = 0; m < sublayers[s].size(); ++m) {
      MixerCache& mixer = sublayers[s][m];
      const MixerCache& source = from.sublayers[s][m];
      if (mixer.kv) mixer.kv->copy_rows(*source.kv, rows_N, from.position);
      if (!mixer.state) continue;
      mixer.state->conv_BSE.copy_(source.state->conv_BSE.index_select(0, rows_N.to(source.state->conv_BSE.device())));
      mixer.state->ssm.copy_(source.state->ssm.index_select(0, rows_N.to(source.state->ssm.device())));
    }
  }
  position = from.position;
}

void ModelCache::restart(const ModelCache* start) {
  for (std::size_t s = 0; s < sublayers.size(); ++s) {
    for (std::size_t m = 0; m < sublayers[s].size(); ++m) {
      MixerCache& mixer = sublayers[s][m];
      const MixerCache* from = start != nullptr ? &start->sublayers[s][m] : nullptr;
      if (mixer.kv && from != nullptr) mixer.kv->copy_prefix(*from->kv);
      if (!mixer.state) continue;
      if (from != nullptr) {
        mixer.state->conv_BSE.copy_(from->state->conv_BSE);
        mixer.state->ssm.copy_(from->state->ssm);
      } else {
        mixer.state->conv_BSE.zero_();
        mixer.state->ssm.zero_();
      }
    }
  }
  position = start != nullptr ? start->position : 0;
}

}  // namespace hymba
