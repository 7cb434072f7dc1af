// What both passes of attention share, compiled once per instruction set: a tile of rows, its transposes and its mask.
#if defined(HYMBA_KERNELS_WINDOW_ATTENTION_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_WINDOW_ATTENTION_TILE_INL_H
#undef HYMBA_KERNELS_WINDOW_ATTENTION_TILE_INL_H
#else
#define HYMBA_KERNELS_WINDOW_ATTENTION_TILE_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/tile_products-inl.h"
#include "kernels/window_attention/kernel.h"
#include "kernels/window_attention/key_ranges.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::window_attention_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using namespace kernels::HWY_NAMESPACE;  // NOLINT

using D = FloatTag;
using DI = hn::RebindToSigned<D>;
using V = FloatVec;

constexpr float kMasked = -1e30f;  // score of a masked pair

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
    const float* from[T];
    for (std::int64_t t = 0; t < T; ++t) from[t] = x.at(batch, query[t], head[t]);
    transpose_rows([&](std::int64_t t) { return from[t]; }, T, features, x_T, T, Times{scale});
  }

  // out [.., L, H, features] = scale * x_T for the tile's rows.
  void write_rows(const float* x_T, std::int64_t features, float scale, const Args<float>& a, float* out) const {
    float* to[T];
    for (std::int64_t t = 0; t < rows; ++t) to[t] = out + ((batch * a.L + query[t]) * a.H + head[t]) * features;
    kernels::HWY_NAMESPACE::write_rows(x_T, T, rows, features, [&](std::int64_t t) { return to[t]; }, Times{scale});
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

// Two vectors a tile halve the broadcasts, but a tile of T rows visits up to T / group keys beyond each row's window.
inline bool two_vectors(const Args<float>& a) {
  const std::int64_t group = a.H / a.K, rows = a.L * group, tile = 2 * kLanes;
  const std::int64_t seen = a.window < 0 ? a.S : std::min(a.S, a.window + a.prefix);
  return rows > static_cast<std::int64_t>(kLanes) && seen * group >= 3 * tile;
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::window_attention_detail
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_WINDOW_ATTENTION_TILE_INL_H
