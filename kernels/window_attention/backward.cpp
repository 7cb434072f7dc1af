// The gradients, in the tiles and blocks of forward.cpp: a tile's weights are computed again from the scores and lse,
// and lanes turn to the features for dk and dv, which sum over rows (README.md, equations 4 to 6).
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <vector>

#include "kernels/window_attention/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/window_attention/backward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/window_attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::window_attention_detail {
namespace HWY_NAMESPACE {

constexpr std::int64_t kKeyBlock = 32;  // keys a block: two score blocks must fit the L1 cache

// Floats of backward scratch: q_T, do_T, dq_T, q and do by rows, two score blocks.
template <std::size_t NV>
std::int64_t backward_scratch(const Args<float>& a) {
  return Tile<NV>::T * (2 * a.P + a.V + padded(a.P) + padded(a.V) + 2 * kKeyBlock);
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

// Scores become weights, and ds (do . v so far) the gradients of the scores (README.md, equation 4): [keys][T] each.
template <std::size_t NV>
HWY_INLINE void weigh(std::int64_t keys, const float* lse, const float* delta, float* weights, float* ds) {
  const D d;
  for (std::int64_t i = 0; i < keys; ++i) {
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      const std::int64_t at = i * Tile<NV>::T + j * kLanes;
      const V p = exp2_or_zero(hn::Sub(hn::Load(d, weights + at), hn::Load(d, lse + j * kLanes)));
      hn::Store(p, d, weights + at);
      hn::Store(hn::Mul(p, hn::Sub(hn::Load(d, ds + at), hn::Load(d, delta + j * kLanes))), d, ds + at);
    }
  }
}

// Writes dq of the tile's rows and adds to dk_sum [keys][padded P] (without the scale) and dv_sum [keys][padded V], the
// sums of its chunk's keys.
template <std::size_t NV>
void backward_tile(const Args<float>& a, const Tile<NV>& tile, std::int64_t kv_head, const KeyRanges& chunk,
                   float* scratch, float* dk_sum, float* dv_sum) {
  constexpr std::int64_t T = Tile<NV>::T;
  const D d;
  const std::int64_t k_width = padded(a.P), v_width = padded(a.V);
  float *q_T = scratch, *do_T = q_T + T * a.P, *dq_T = do_T + T * a.V, *q_rows = dq_T + T * a.P;
  float *do_rows = q_rows + T * k_width, *weights = do_rows + T * v_width, *ds = weights + T * kKeyBlock;
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
    for (std::int64_t lo = range.lo; lo < range.hi; lo += kKeyBlock) {
      const std::int64_t keys = std::min(kKeyBlock, range.hi - lo);
      const float *k = a.k.at(tile.batch, lo, kv_head), *v = a.v.at(tile.batch, lo, kv_head);
      products<NV>(q_T, a.P, k, a.k.sl, keys, weights);
      products<NV>(do_T, a.V, v, a.v.sl, keys, ds);
      if (tile.needs_mask(range, lo, lo + keys)) tile.mask(range, lo, lo + keys, weights);
      weigh<NV>(keys, lse, delta, weights, ds);
      accumulate<NV>(ds, keys, k, a.k.sl, a.P, dq_T, one);
      const std::int64_t at = chunk.index(lo);  // a tile's range lies in one of its chunk's
      sum_over_rows({weights, T, 1}, T, keys, do_rows, v_width, dv_sum + at * v_width);
      sum_over_rows({ds, T, 1}, T, keys, q_rows, k_width, dk_sum + at * k_width);
    }
  }
  tile.write_rows(dq_T, a.P, a.scale, a, a.dq);
}

template <std::size_t NV>
void backward_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t k_width = padded(a.P), v_width = padded(a.V), width = k_width + v_width;
  const std::int64_t pair_keys = keys_before(a, a.chunks);
  auto scratch = hwy::AllocateAligned<float>(backward_scratch<NV>(a) + (a.chunks == 1 ? a.S * width : 0));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t pair = task / a.chunks, b = pair / a.K, kv_head = pair % a.K, c = task % a.chunks;
    const std::int64_t last = chunk_row(a, c + 1);
    const KeyRanges chunk = chunk_keys(a, c);
    float* dk_sum = a.chunks == 1 ? scratch.get() + backward_scratch<NV>(a)
                                  : a.partial + (pair * pair_keys + keys_before(a, c)) * width;
    float* dv_sum = dk_sum + chunk.keys() * k_width;
    std::fill_n(dk_sum, chunk.keys() * width, 0.0f);
    for (std::int64_t row = chunk_row(a, c); row < last; row += Tile<NV>::T) {
      const Tile<NV> tile(a, b, kv_head, row, std::min(last - row, Tile<NV>::T));
      backward_tile<NV>(a, tile, kv_head, chunk, scratch.get(), dk_sum, dv_sum);
    }
    for (std::int64_t j = 0; a.chunks == 1 && j < a.S; ++j) {
      const std::int64_t at = (b * a.S + j) * a.K + kv_head;
      scale_row(dk_sum + j * k_width, a.scale, a.P, a.dk + at * a.P);
      scale_row(dv_sum + j * v_width, 1.0f, a.V, a.dv + at * a.V);
    }
  }
}

void backward_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? backward_range<2>(a, begin, end) : backward_range<1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::window_attention_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::window_attention_detail {

HYMBA_DISPATCH_TASKS(cpu_backward, backward_tasks_in, Args<float>);

std::int64_t partial_floats(const Args<float>& a) {
  return a.chunks == 1 ? 0 : a.B * a.K * keys_before(a, a.chunks) * (padded(a.P) + padded(a.V));
}

void cpu_reduce(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t k_width = padded(a.P), v_width = padded(a.V), width = k_width + v_width;
  const std::int64_t pair_keys = keys_before(a, a.chunks);
  std::vector<KeyRanges> chunks(a.chunks);
  for (std::int64_t c = 0; c < a.chunks; ++c) chunks[c] = chunk_keys(a, c);
  for (std::int64_t at = begin; at < end; ++at) {
    const std::int64_t b = at / a.K / a.S, j = at / a.K % a.S, kv_head = at % a.K;
    float *dk = a.dk + at * a.P, *dv = a.dv + at * a.V;
    std::fill(dk, dk + a.P, 0.0f);
    std::fill(dv, dv + a.V, 0.0f);
    const float* sums = a.partial + (b * a.K + kv_head) * pair_keys * width;
    for (const KeyRanges& chunk : chunks) {
      const std::int64_t key = chunk.index(j), keys = chunk.keys();
      for (std::int64_t i = 0; key >= 0 && i < a.P; ++i) dk[i] += a.scale * sums[key * k_width + i];
      for (std::int64_t i = 0; key >= 0 && i < a.V; ++i) dv[i] += sums[keys * k_width + key * v_width + i];
      sums += keys * width;
    }
  }
}

}  // namespace hymba::kernels::window_attention_detail
#endif  // HWY_ONCE
