// Vector code, compiled once per instruction set. Lanes run over rows: a row is one (query, head of the group) pair of
// one (batch, KV head), so no feature count leaves idle lanes, softmax needs no sum across lanes, and the heads of a
// group share every key they read. The three products are register-blocked gemms over a tile of T rows and a block of
// keys that stay in L1 (README.md, "How it runs").
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>

#include "kernels/window_attention/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/window_attention/forward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "kernels/bf16_pairs-inl.h"
#include "kernels/dispatch.h"
#include "kernels/window_attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::window_attention_detail {
namespace HWY_NAMESPACE {

constexpr std::int64_t kKeyBlock = 64;  // keys a block
constexpr float kLowest = -0.5e30f;     // running maximum at the start: above kMasked, so exp2 gives 0

// Rows 2 i and 2 i + 1 of x [rows][T] become row i of pairs; zeros behind an odd last one.
template <std::size_t NV>
HWY_INLINE void pair_rows(std::int64_t rows, float* x) {
  const D d;
  constexpr std::int64_t T = NV * kLanes;
  for (std::int64_t i = 0; i < rows; i += 2) {
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      const float* from = x + i * T + j * kLanes;
      const V second = i + 1 < rows ? hn::Load(d, from + T) : hn::Zero(d);
      hn::Store(pairs_across(hn::Load(d, from), second), d, x + i / 2 * T + j * kLanes);
    }
  }
}

// Floats of forward scratch: q_T, o_T, scores.
template <std::size_t NV>
std::int64_t forward_scratch(const Args<float>& a) {
  return Tile<NV>::T * (a.P + a.V + kKeyBlock);
}

// The online softmax of a tile's rows: the largest score so far, the sum of the weights, and what the last block's new
// maximum makes of earlier sums.
template <std::size_t NV>
struct OnlineSoftmax {
  static constexpr std::int64_t T = NV * kLanes;
  V top[NV], sum[NV], alpha[NV];

  HWY_INLINE OnlineSoftmax() {
    const D d;
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) top[j] = hn::Set(d, kLowest), sum[j] = hn::Zero(d);
  }

  // Scores [keys][T] become weights. Not inlined: its constants would take the registers of the products' loops.
  HWY_NOINLINE void add(std::int64_t keys, float* scores) {
    const D d;
    V high[NV], total[NV];
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) high[j] = top[j];
    for (std::int64_t i = 0; i < keys; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) high[j] = hn::Max(high[j], hn::Load(d, scores + i * T + j * kLanes));
    }
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      alpha[j] = exp2_or_zero(hn::Sub(top[j], high[j]));
      total[j] = hn::Mul(sum[j], alpha[j]);
    }
    for (std::int64_t i = 0; i < keys; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        float* s = scores + i * T + j * kLanes;
        const V p = exp2_or_zero(hn::Sub(hn::Load(d, s), high[j]));
        total[j] = hn::Add(total[j], p);
        hn::Store(p, d, s);
      }
    }
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) top[j] = high[j], sum[j] = total[j];
  }

  // Divides o_T [features][T] by the sums and writes lse [T].
  HWY_INLINE void finish(std::int64_t features, float* o_T, float* lse) const {
    const D d;
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      const auto none = hn::Eq(sum[j], hn::Zero(d));  // a row without a key: o = 0, and 2^(score - lse) = 0
      const V inverse = hn::IfThenZeroElse(none, hn::Div(hn::Set(d, 1.0f), sum[j]));
      for (std::int64_t i = 0; i < features; ++i) {
        float* o = o_T + i * T + j * kLanes;
        hn::Store(hn::Mul(hn::Load(d, o), inverse), d, o);
      }
      const V log = hn::Add(top[j], hn::Log2(d, hn::IfThenElse(none, hn::Set(d, 1.0f), sum[j])));
      hn::Store(hn::IfThenElse(none, hn::Set(d, -kMasked), log), d, lse + j * kLanes);
    }
  }
};

template <std::size_t NV, bool kPairs>
void forward_tile(const Args<float>& a, const Tile<NV>& tile, std::int64_t kv_head, float* scratch) {
  constexpr std::int64_t T = Tile<NV>::T;
  float *q_T = scratch, *o_T = q_T + T * a.P, *scores = o_T + T * a.V;
  tile.transpose(a.q, a.P, a.scale * 1.44269504088896341f, q_T);  // log2(e): exp becomes 2^x
  if constexpr (kPairs) pair_rows<NV>(a.P, q_T);
  std::fill(o_T, o_T + T * a.V, 0.0f);
  OnlineSoftmax<NV> softmax;
  for (int r = 0; r < tile.ranges.count; ++r) {
    const KeyRange& range = tile.ranges.range[r];
    if constexpr (kPairs) {
      const PairLayout layout(a);
      const float* k = a.pairs + (tile.batch * a.K + kv_head) * layout.head_floats();
      const float* v = k + a.S * layout.k_width;
      // Weights are rounded next to the largest score so far: blocks end at multiples of a position, so that a row has the same ones
      // whatever the tile that it is in. A block that starts in the middle of a pair has a weight of zero before it.
      for (std::int64_t lo = range.lo, hi = 0; lo < range.hi; lo = hi) {
        const std::int64_t position = lo + range.offset, before = position % 2;
        hi = std::min(lo + kKeyBlock - position % kKeyBlock, range.hi);
        float* s = scores + before * T;
        products<NV, true>(q_T, (a.P + 1) / 2, k + lo * layout.k_width, layout.k_width, hi - lo, s);
        if (tile.needs_mask(range, lo, hi)) tile.mask(range, lo, hi, s);
        softmax.add(hi - lo, s);
        std::fill(scores, s, 0.0f);
        pair_rows<NV>(before + hi - lo, scores);
        accumulate<NV, true>(scores, (before + hi - lo + 1) / 2, v + layout.v_row(lo) * layout.v_width, layout.v_width, a.V, o_T,
                             softmax.alpha);
      }
    } else {
      for (std::int64_t lo = range.lo; lo < range.hi; lo += kKeyBlock) {
        const std::int64_t keys = std::min(kKeyBlock, range.hi - lo);
        products<NV>(q_T, a.P, a.k.at(tile.batch, lo, kv_head), a.k.sl, keys, scores);
        if (tile.needs_mask(range, lo, lo + keys)) tile.mask(range, lo, lo + keys, scores);
        softmax.add(keys, scores);
        accumulate<NV>(scores, keys, a.v.at(tile.batch, lo, kv_head), a.v.sl, a.V, o_T, softmax.alpha);
      }
    }
  }
  HWY_ALIGN float lse[T];
  softmax.finish(a.V, o_T, lse);
  tile.write_rows(o_T, a.V, 1.0f, a, a.out);
  for (std::int64_t t = 0; t < tile.rows; ++t) a.lse[(tile.batch * a.H + tile.head[t]) * a.L + tile.query[t]] = lse[t];
}

template <std::size_t NV, bool kPairs>
void forward_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t tasks = row_tasks(a), rows = a.L * (a.H / a.K);
  auto scratch = hwy::AllocateAligned<float>(forward_scratch<NV>(a));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t kv_head = task / tasks % a.K, first = task % tasks * kTaskRows;
    const std::int64_t last = std::min(rows, first + kTaskRows);
    for (std::int64_t row = first; row < last; row += Tile<NV>::T) {
      const Tile<NV> tile(a, task / tasks / a.K, kv_head, row, std::min(last - row, Tile<NV>::T));
      forward_tile<NV, kPairs>(a, tile, kv_head, scratch.get());
    }
  }
}

void round_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const D d;
  const PairLayout layout(a);
  const std::int64_t blocks = (a.S + kRoundedKeys - 1) / kRoundedKeys;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t head = task / blocks, first = task % blocks * kRoundedKeys, last = std::min(first + kRoundedKeys, a.S);
    float* k_pairs = a.pairs + head * layout.head_floats();
    float* v_pairs = k_pairs + a.S * layout.k_width;
    for (std::int64_t key = first; key < last; ++key) {
      const float* row = a.k.at(head / a.K, key, head % a.K);
      for (std::int64_t p = 0; p < layout.k_width; p += kLanes) {
        const V low = load_part(row + 2 * p, a.P - 2 * p), high = load_part(row + 2 * p + kLanes, a.P - 2 * p - kLanes);
        hn::Store(pairs_along(low, high), d, k_pairs + key * layout.k_width + p);
      }
      const bool even = a.key_position(key) % 2 == 0;
      if (!even && key != 0 && key != layout.split) continue;  // the second of a pair
      const bool second = even && key + 1 < a.S && key + 1 != layout.split;
      const float* here = a.v.at(head / a.K, key, head % a.K);
      for (std::int64_t i = 0; i < layout.v_width; i += kLanes) {
        const V own = load_part(here + i, a.V - i), next = second ? load_part(here + a.v.sl + i, a.V - i) : hn::Zero(d);
        hn::Store(even ? pairs_across(own, next) : pairs_across(next, own), d, v_pairs + layout.v_row(key) * layout.v_width + i);
      }
    }
  }
}

void forward_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  if constexpr (kHasPairs) {
    if (a.pairs) return two_vectors(a) ? forward_range<2, true>(a, begin, end) : forward_range<1, true>(a, begin, end);
  }
  two_vectors(a) ? forward_range<2, false>(a, begin, end) : forward_range<1, false>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::window_attention_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::window_attention_detail {

HYMBA_DISPATCH_TASKS(cpu_round, round_tasks_in, Args<float>);
HYMBA_DISPATCH_TASKS(cpu_forward, forward_tasks_in, Args<float>);

}  // namespace hymba::kernels::window_attention_detail
#endif  // HWY_ONCE
