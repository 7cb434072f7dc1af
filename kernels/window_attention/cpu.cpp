// Vector code, compiled once per instruction set. Lanes run over rows: a row is one (query, head of the group) pair of
// one (batch, KV head), so no feature count leaves idle lanes, softmax needs no sum across lanes, and the heads of a
// group share every key they read. The three products are register-blocked gemms over a tile of T rows and a block of
// keys that stay in L1 (README.md, "How it runs").
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <vector>

#include "kernels/window_attention/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/window_attention/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "kernels/tile_products-inl.h"

#ifndef HYMBA_WINDOW_ATTENTION_ONCE
#define HYMBA_WINDOW_ATTENTION_ONCE

namespace hymba::kernels::window_attention_detail {

inline constexpr std::int64_t kKeyBlock = 64;          // keys a block, forward
inline constexpr std::int64_t kBackwardKeyBlock = 32;  // keys a block, backward: two score blocks must fit
inline constexpr float kMasked = -1e30f;               // score of a masked pair
inline constexpr float kLowest = -0.5e30f;             // running maximum at the start: above kMasked, so exp2 gives 0

// Keys [lo, hi) that some row of the tile may see; key j is at position j + offset; visible if 0 <= a - b < window.
struct KeyRange {
  std::int64_t lo, hi, offset, window;
};
struct KeyRanges {
  KeyRange range[2];
  int count = 0;
  void add(const KeyRange& r) {
    if (r.lo < r.hi) range[count++] = r;
  }
  bool contains(std::int64_t j) const {
    for (int i = 0; i < count; ++i)
      if (range[i].lo <= j && j < range[i].hi) return true;
    return false;
  }
};

// For queries at positions first .. last.
inline KeyRanges key_ranges(const Args<float>& a, std::int64_t first, std::int64_t last) {
  constexpr std::int64_t kNoWindow = std::int64_t{1} << 30;
  const std::int64_t window = a.window < 0 ? kNoWindow : a.window, prefix = std::min(a.prefix, a.S);
  KeyRanges ranges;
  const std::int64_t hi = std::min(a.S, last - a.key_gap + 1);
  if (a.window < 0 && a.key_gap == 0) {
    ranges.add({0, hi, 0, kNoWindow});
    return ranges;
  }
  ranges.add({0, std::min(prefix, last + 1), 0, kNoWindow});
  ranges.add({std::max(prefix, first - window + 1 - a.key_gap), hi, a.key_gap, window});
  return ranges;
}

// First row of chunk c; chunks start at multiples of kTaskRows.
inline std::int64_t chunk_row(const Args<float>& a, std::int64_t c) {
  return std::min(a.L * (a.H / a.K), row_tasks(a) * c / a.chunks * kTaskRows);
}

}  // namespace hymba::kernels::window_attention_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::window_attention_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using namespace kernels::HWY_NAMESPACE;  // NOLINT

using D = FloatTag;
using DI = hn::RebindToSigned<D>;
using V = FloatVec;

// A tile of up to T rows of one (batch, KV head). Lanes past the end repeat the last row; their results are dropped.
template <std::size_t NV>
struct Tile {
  static constexpr std::int64_t T = NV * kLanes;
  HWY_ALIGN std::int32_t position[T];
  std::int64_t query[T], head[T];  // of each lane
  std::int64_t batch, rows;
  KeyRanges ranges;

  Tile(const Args<float>& a, std::int64_t b, std::int64_t kv_head, std::int64_t row, std::int64_t row_count)
      : batch(b), rows(row_count) {
    const std::int64_t group = a.H / a.K;
    std::int64_t l = row / group, h = row % group;
    for (std::int64_t t = 0; t < T; ++t) {
      query[t] = l, head[t] = kv_head * group + h;
      position[t] = static_cast<std::int32_t>(a.q_start + l);
      if (t + 1 < rows && ++h == group) h = 0, ++l;
    }
    ranges = key_ranges(a, position[0], position[T - 1]);
  }

  // x_T[feature][T] = scale * the lanes' rows of x.
  void transpose(const Rows<const float>& x, std::int64_t features, float scale, float* x_T) const {
    for (std::int64_t t = 0; t < T; t += 4) {
      const float* from[4];
      for (int i = 0; i < 4; ++i) from[i] = x.at(batch, query[t + i], head[t + i]);
      kernels::HWY_NAMESPACE::transpose_rows(from, scale, features, T, x_T + t);
    }
  }

  // out [.., L, H, features] = scale * x_T for the tile's rows.
  void write_rows(const float* x_T, std::int64_t features, float scale, const Args<float>& a, float* out) const {
    for (std::int64_t t = 0; t < rows; t += 4) {
      float* to[4];
      for (int i = 0; i < 4; ++i) to[i] = out + ((batch * a.L + query[t + i]) * a.H + head[t + i]) * features;
      kernels::HWY_NAMESPACE::write_rows(x_T + t, scale, features, T, std::min<std::int64_t>(4, rows - t), to);
    }
  }

  // Whether keys lo .. hi - 1 of a range need a mask: some row is too early or too late for one of them.
  bool needs_mask(const KeyRange& range, std::int64_t lo, std::int64_t hi) const {
    return hi - 1 + range.offset > position[0] || position[T - 1] - (lo + range.offset) >= range.window;
  }

  // Scores of masked pairs become kMasked: visible if b <= a < b + window.
  void mask(const KeyRange& range, std::int64_t lo, std::int64_t hi, float* scores) const {
    const D d;
    const DI di;
    for (std::int64_t key = lo; key < hi; ++key, scores += T) {
      const auto b = hn::Set(di, static_cast<std::int32_t>(key + range.offset));
      const auto end = hn::Set(di, static_cast<std::int32_t>(key + range.offset + range.window));
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        const auto a = hn::Load(di, position + j * kLanes);
        const auto hidden = hn::Or(hn::Gt(b, a), hn::Not(hn::Lt(a, end)));
        float* s = scores + j * kLanes;
        hn::Store(hn::IfThenElse(hn::RebindMask(d, hidden), hn::Set(d, kMasked), hn::Load(d, s)), d, s);
      }
    }
  }
};

// Floats of forward scratch: q_T, o_T, scores.
template <std::size_t NV>
std::int64_t forward_scratch(const Args<float>& a) {
  return Tile<NV>::T * (a.P + a.V + kKeyBlock);
}

template <std::size_t NV>
void forward_tile(const Args<float>& a, const Tile<NV>& tile, std::int64_t kv_head, float* scratch) {
  constexpr std::int64_t T = Tile<NV>::T;
  const D d;
  float *q_T = scratch, *o_T = q_T + T * a.P, *scores = o_T + T * a.V;
  tile.transpose(a.q, a.P, a.scale * 1.44269504088896341f, q_T);  // log2(e): exp becomes 2^x
  std::fill(o_T, o_T + T * a.V, 0.0f);
  V top[NV], sum[NV], alpha[NV];
  HYMBA_UNROLL
  for (std::size_t j = 0; j < NV; ++j) top[j] = hn::Set(d, kLowest), sum[j] = hn::Zero(d);
  for (int r = 0; r < tile.ranges.count; ++r) {
    const KeyRange& range = tile.ranges.range[r];
    for (std::int64_t lo = range.lo; lo < range.hi; lo += kKeyBlock) {
      const std::int64_t keys = std::min(kKeyBlock, range.hi - lo);
      products<NV>(q_T, a.P, a.k.at(tile.batch, lo, kv_head), a.k.sl, keys, scores);
      if (tile.needs_mask(range, lo, lo + keys)) tile.mask(range, lo, lo + keys, scores);
      V high[NV];
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) high[j] = top[j];
      for (std::int64_t i = 0; i < keys; ++i) {
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) high[j] = hn::Max(high[j], hn::Load(d, scores + i * T + j * kLanes));
      }
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        alpha[j] = exp2_or_zero(hn::Sub(top[j], high[j]));
        top[j] = high[j];
        sum[j] = hn::Mul(sum[j], alpha[j]);
      }
      for (std::int64_t i = 0; i < keys; ++i) {
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) {
          float* s = scores + i * T + j * kLanes;
          const V p = exp2_or_zero(hn::Sub(hn::Load(d, s), top[j]));
          sum[j] = hn::Add(sum[j], p);
          hn::Store(p, d, s);
        }
      }
      accumulate<NV>(scores, keys, a.v.at(tile.batch, lo, kv_head), a.v.sl, a.V, o_T, alpha);
    }
  }
  HWY_ALIGN float lse[T];
  HYMBA_UNROLL
  for (std::size_t j = 0; j < NV; ++j) {
    const auto none = hn::Eq(sum[j], hn::Zero(d));  // a row without a key: o = 0, and 2^(score - lse) = 0
    const V inverse = hn::IfThenZeroElse(none, hn::Div(hn::Set(d, 1.0f), sum[j]));
    for (std::int64_t i = 0; i < a.V; ++i) {
      float* o = o_T + i * T + j * kLanes;
      hn::Store(hn::Mul(hn::Load(d, o), inverse), d, o);
    }
    const V log = hn::Add(top[j], hn::Log2(d, hn::IfThenElse(none, hn::Set(d, 1.0f), sum[j])));
    hn::Store(hn::IfThenElse(none, hn::Set(d, -kMasked), log), d, lse + j * kLanes);
  }
  tile.write_rows(o_T, a.V, 1.0f, a, a.out);
  for (std::int64_t t = 0; t < tile.rows; ++t) a.lse[(tile.batch * a.H + tile.head[t]) * a.L + tile.query[t]] = lse[t];
}

// Floats of backward scratch: q_T, do_T, dq_T, q and do by rows, two score blocks.
template <std::size_t NV>
std::int64_t backward_scratch(const Args<float>& a) {
  return Tile<NV>::T * (2 * a.P + a.V + padded(a.P) + padded(a.V) + 2 * kBackwardKeyBlock);
}

// The lanes' rows of x, zero-padded to `width` features; lanes past the end are zeros: they add nothing to dk and dv.
template <std::size_t NV>
void copy_rows(const Tile<NV>& tile, const Rows<const float>& x, std::int64_t features, std::int64_t width,
               float* out) {
  for (std::int64_t t = 0; t < Tile<NV>::T; ++t, out += width) {
    const std::int64_t n = t < tile.rows ? features : 0;
    if (n > 0) scale_row(x.at(tile.batch, tile.query[t], tile.head[t]), 1.0f, n, out);
    std::fill(out + n, out + width, 0.0f);
  }
}

// Writes dq of the tile's rows and adds to dk_sum [S][padded P] (without the scale) and dv_sum [S][padded V].
template <std::size_t NV>
void backward_tile(const Args<float>& a, const Tile<NV>& tile, std::int64_t kv_head, float* scratch, float* dk_sum,
                   float* dv_sum) {
  constexpr std::int64_t T = Tile<NV>::T;
  const D d;
  const std::int64_t k_width = padded(a.P), v_width = padded(a.V);
  float *q_T = scratch, *do_T = q_T + T * a.P, *dq_T = do_T + T * a.V, *q_rows = dq_T + T * a.P;
  float *do_rows = q_rows + T * k_width, *weights = do_rows + T * v_width, *ds = weights + T * kBackwardKeyBlock;
  HWY_ALIGN float lse[T], delta[T];
  tile.transpose(a.q, a.P, a.scale * 1.44269504088896341f, q_T);
  tile.transpose(a.d_o, a.V, 1.0f, do_T);
  copy_rows(tile, a.q, a.P, k_width, q_rows);
  copy_rows(tile, a.d_o, a.V, v_width, do_rows);
  std::fill(dq_T, dq_T + T * a.P, 0.0f);
  for (std::int64_t t = 0; t < T; ++t) {
    lse[t] = a.lse[(tile.batch * a.H + tile.head[t]) * a.L + tile.query[t]];
    delta[t] = dot_row(a.o.at(tile.batch, tile.query[t], tile.head[t]),
                       a.d_o.at(tile.batch, tile.query[t], tile.head[t]), a.V);
  }
  V one[NV];
  HYMBA_UNROLL
  for (std::size_t j = 0; j < NV; ++j) one[j] = hn::Set(d, 1.0f);
  for (int r = 0; r < tile.ranges.count; ++r) {
    const KeyRange& range = tile.ranges.range[r];
    for (std::int64_t lo = range.lo; lo < range.hi; lo += kBackwardKeyBlock) {
      const std::int64_t keys = std::min(kBackwardKeyBlock, range.hi - lo);
      const float *k = a.k.at(tile.batch, lo, kv_head), *v = a.v.at(tile.batch, lo, kv_head);
      products<NV>(q_T, a.P, k, a.k.sl, keys, weights);
      products<NV>(do_T, a.V, v, a.v.sl, keys, ds);
      if (tile.needs_mask(range, lo, lo + keys)) tile.mask(range, lo, lo + keys, weights);
      for (std::int64_t i = 0; i < keys; ++i) {
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) {
          const std::int64_t at = i * T + j * kLanes;
          const V p = exp2_or_zero(hn::Sub(hn::Load(d, weights + at), hn::Load(d, lse + j * kLanes)));
          hn::Store(p, d, weights + at);
          hn::Store(hn::Mul(p, hn::Sub(hn::Load(d, ds + at), hn::Load(d, delta + j * kLanes))), d, ds + at);
        }
      }
      accumulate<NV>(ds, keys, k, a.k.sl, a.P, dq_T, one);
      sum_over_rows({weights, T, 1}, T, keys, do_rows, v_width, dv_sum + lo * v_width);
      sum_over_rows({ds, T, 1}, T, keys, q_rows, k_width, dk_sum + lo * k_width);
    }
  }
  tile.write_rows(dq_T, a.P, a.scale, a, a.dq);
}

// Two vectors a tile halve the broadcasts, but a tile of T rows visits up to T / group keys beyond each row's window.
bool two_vectors(const Args<float>& a) {
  const std::int64_t group = a.H / a.K, rows = a.L * group, tile = 2 * kLanes;
  const std::int64_t seen = a.window < 0 ? a.S : std::min(a.S, a.window + a.prefix);
  return rows > static_cast<std::int64_t>(kLanes) && seen * group >= 3 * tile;
}

template <std::size_t NV>
void forward_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t tasks = row_tasks(a), rows = a.L * (a.H / a.K);
  auto scratch = hwy::AllocateAligned<float>(forward_scratch<NV>(a));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t kv_head = task / tasks % a.K, first = task % tasks * kTaskRows;
    const std::int64_t last = std::min(rows, first + kTaskRows);
    for (std::int64_t row = first; row < last; row += Tile<NV>::T) {
      const Tile<NV> tile(a, task / tasks / a.K, kv_head, row, std::min(last - row, Tile<NV>::T));
      forward_tile<NV>(a, tile, kv_head, scratch.get());
    }
  }
}

template <std::size_t NV>
void backward_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t group = a.H / a.K, k_width = padded(a.P), v_width = padded(a.V), sums = a.S * (k_width + v_width);
  auto scratch = hwy::AllocateAligned<float>(backward_scratch<NV>(a) + (a.chunks == 1 ? sums : 0));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / a.chunks / a.K, kv_head = task / a.chunks % a.K, chunk = task % a.chunks;
    const std::int64_t first = chunk_row(a, chunk), last = chunk_row(a, chunk + 1);
    float* dk_sum = a.chunks == 1 ? scratch.get() + backward_scratch<NV>(a) : a.partial + task * sums;
    float* dv_sum = dk_sum + a.S * k_width;
    KeyRanges seen;
    if (a.chunks == 1) {
      seen.add({0, a.S, 0, 0});
    } else if (first < last) {
      seen = key_ranges(a, a.q_start + first / group, a.q_start + (last - 1) / group);
    }
    for (int r = 0; r < seen.count; ++r) {
      std::fill(dk_sum + seen.range[r].lo * k_width, dk_sum + seen.range[r].hi * k_width, 0.0f);
      std::fill(dv_sum + seen.range[r].lo * v_width, dv_sum + seen.range[r].hi * v_width, 0.0f);
    }
    for (std::int64_t row = first; row < last; row += Tile<NV>::T) {
      const Tile<NV> tile(a, b, kv_head, row, std::min(last - row, Tile<NV>::T));
      backward_tile<NV>(a, tile, kv_head, scratch.get(), dk_sum, dv_sum);
    }
    for (std::int64_t j = 0; a.chunks == 1 && j < a.S; ++j) {
      const std::int64_t at = (b * a.S + j) * a.K + kv_head;
      scale_row(dk_sum + j * k_width, a.scale, a.P, a.dk + at * a.P);
      scale_row(dv_sum + j * v_width, 1.0f, a.V, a.dv + at * a.V);
    }
  }
}

void forward_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? forward_range<2>(a, begin, end) : forward_range<1>(a, begin, end);
}

void backward_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? backward_range<2>(a, begin, end) : backward_range<1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::window_attention_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::window_attention_detail {

HWY_EXPORT(forward_tasks_in);
HWY_EXPORT(backward_tasks_in);

void cpu_forward(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_tasks_in)(a, begin, end);
}

void cpu_backward(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks_in)(a, begin, end);
}

std::int64_t partial_floats(const Args<float>& a) {
  return a.chunks == 1 ? 0 : backward_tasks(a) * a.S * (padded(a.P) + padded(a.V));
}

void cpu_reduce(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t group = a.H / a.K, k_width = padded(a.P), v_width = padded(a.V), sums = a.S * (k_width + v_width);
  std::vector<KeyRanges> seen(a.chunks);
  for (std::int64_t c = 0; c < a.chunks; ++c) {
    const std::int64_t first = chunk_row(a, c), last = chunk_row(a, c + 1);
    if (first < last) seen[c] = key_ranges(a, a.q_start + first / group, a.q_start + (last - 1) / group);
  }
  for (std::int64_t at = begin; at < end; ++at) {
    const std::int64_t b = at / a.K / a.S, j = at / a.K % a.S, kv_head = at % a.K;
    float *dk = a.dk + at * a.P, *dv = a.dv + at * a.V;
    std::fill(dk, dk + a.P, 0.0f);
    std::fill(dv, dv + a.V, 0.0f);
    for (std::int64_t c = 0; c < a.chunks; ++c) {
      if (!seen[c].contains(j)) continue;
      const float* sum = a.partial + ((b * a.K + kv_head) * a.chunks + c) * sums;
      for (std::int64_t i = 0; i < a.P; ++i) dk[i] += a.scale * sum[j * k_width + i];
      for (std::int64_t i = 0; i < a.V; ++i) dv[i] += sum[a.S * k_width + j * v_width + i];
    }
  }
}

}  // namespace hymba::kernels::window_attention_detail
#endif
