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

#include "kernels/dispatch.h"
#include "kernels/window_attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::window_attention_detail {
namespace HWY_NAMESPACE {

constexpr std::int64_t kKeyBlock = 64;  // keys a block
constexpr float kLowest = -0.5e30f;     // running maximum at the start: above kMasked, so exp2 gives 0

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

  // Scores [keys][T] become weights.
  HWY_INLINE void add(std::int64_t keys, float* scores) {
    const D d;
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

template <std::size_t NV>
void forward_tile(const Args<float>& a, const Tile<NV>& tile, std::int64_t kv_head, float* scratch) {
  constexpr std::int64_t T = Tile<NV>::T;
  float *q_T = scratch, *o_T = q_T + T * a.P, *scores = o_T + T * a.V;
  tile.transpose(a.q, a.P, a.scale * 1.44269504088896341f, q_T);  // log2(e): exp becomes 2^x
  std::fill(o_T, o_T + T * a.V, 0.0f);
  OnlineSoftmax<NV> softmax;
  for (int r = 0; r < tile.ranges.count; ++r) {
    const KeyRange& range = tile.ranges.range[r];
    for (std::int64_t lo = range.lo; lo < range.hi; lo += kKeyBlock) {
      const std::int64_t keys = std::min(kKeyBlock, range.hi - lo);
      products<NV>(q_T, a.P, a.k.at(tile.batch, lo, kv_head), a.k.sl, keys, scores);
      if (tile.needs_mask(range, lo, lo + keys)) tile.mask(range, lo, lo + keys, scores);
      softmax.add(keys, scores);
      accumulate<NV>(scores, keys, a.v.at(tile.batch, lo, kv_head), a.v.sl, a.V, o_T, softmax.alpha);
    }
  }
  HWY_ALIGN float lse[T];
  softmax.finish(a.V, o_T, lse);
  tile.write_rows(o_T, a.V, 1.0f, a, a.out);
  for (std::int64_t t = 0; t < tile.rows; ++t) a.lse[(tile.batch * a.H + tile.head[t]) * a.L + tile.query[t]] = lse[t];
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

void forward_tasks_in(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? forward_range<2>(a, begin, end) : forward_range<1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::window_attention_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::window_attention_detail {

HYMBA_DISPATCH_TASKS(cpu_forward, forward_tasks_in, Args<float>);

}  // namespace hymba::kernels::window_attention_detail
#endif  // HWY_ONCE
