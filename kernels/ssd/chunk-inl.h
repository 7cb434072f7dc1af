// What the passes of SSD share: scratch, the steps of a chunk by rows and by tiles, and the decays of a head. Compiled
// once per instruction set. Lanes run over steps t ("tile": T steps).
#if defined(HYMBA_KERNELS_SSD_CHUNK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_SSD_CHUNK_INL_H
#undef HYMBA_KERNELS_SSD_CHUNK_INL_H
#else
#define HYMBA_KERNELS_SSD_CHUNK_INL_H
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/ssd/kernel.h"
#include "kernels/tile_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::ssd_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

using D = FloatTag;
using V = FloatVec;
constexpr D kTag;

// Aligned scratch, handed out piece by piece.
class Scratch {
 public:
  explicit Scratch(std::int64_t floats) : memory_(hwy::AllocateAligned<float>(floats)), next_(memory_.get()) {}
  float* take(std::int64_t floats) {
    float* piece = next_;
    next_ += round_up(floats);
    return piece;
  }
  static std::int64_t round_up(std::int64_t floats) { return (floats + 15) / 16 * 16; }

 private:
  hwy::AlignedFreeUniquePtr<float[]> memory_;
  float* next_;
};

// One chunk of one sequence: steps [first, first + steps), `padded_steps` a multiple of T.
struct Chunk {
  std::int64_t b, c, first, steps, padded_steps;
};

template <std::int64_t T>
Chunk make_chunk(const Args<float>& a, std::int64_t b, std::int64_t c) {
  const std::int64_t first = c * a.chunk, steps = std::min(a.chunk, a.L - first);
  return {b, c, first, steps, (steps + T - 1) / T * T};
}

inline float* state_of(const Args<float>& a, float* states, std::int64_t b, std::int64_t c, std::int64_t h) {
  return states + ((b * (a.chunks() + 1) + c) * a.H + h) * a.P * padded(a.N);
}

// out[i] = factor * in[i], zeros from n to width.
HWY_INLINE void scale_padded(const float* in, float factor, std::int64_t n, std::int64_t width, float* out) {
  scale_row(in, factor, n, out);
  for (std::int64_t i = n; i < width; ++i) out[i] = 0;
}

// Rows [padded_steps][width] of a chunk: those of x, zeros behind its features and behind the last step.
inline void pack_rows(const Chunk& k, const Rows<float>& x, std::int64_t i, std::int64_t features, std::int64_t width,
                      float* out) {
  for (std::int64_t t = 0; t < k.steps; ++t, out += width) {
    scale_padded(x.at(k.b, k.first + t, i), 1.0f, features, width, out);
  }
  std::fill_n(out, (k.padded_steps - k.steps) * width, 0.0f);
}

// x_T[feature][T] of T rows of `width` floats.
inline void transpose_tile(const float* rows, std::int64_t width, std::int64_t features, std::int64_t tile,
                           float* x_T) {
  transpose_rows([=](std::int64_t t) { return rows + t * width; }, tile, features, x_T, tile);
}

// The first `count` rows, `stride` apart, of a transposed tile.
inline void write_tile(const float* x_T, std::int64_t features, std::int64_t tile, std::int64_t count,
                       std::int64_t stride, float* rows) {
  write_rows(x_T, tile, count, features, [=](std::int64_t t) { return rows + t * stride; });
}

// What one head makes of its steps in one chunk. With s_t = sum of dt * A up to t (here times log2 e): the state decays
// by exp(s_t) from the chunk's start to t, by exp(s_last - s_t) from t to the end, by exp(s_t - s_r) from r to t.
struct Head {
  float *dt, *slope, *high, *low, *from_start, *to_end;  // [padded_steps]; s = high + low; slope: d dt / d raw dt
  float total;                                           // from the chunk's start to its end

  static constexpr std::int64_t kArrays = 6;
  Head(Scratch& scratch, std::int64_t steps) {
    for (float** array : {&dt, &slope, &high, &low, &from_start, &to_end}) *array = scratch.take(steps);
  }

  void prepare(const Args<float>& a, const Chunk& k, std::int64_t h) {
    const float bias = a.bias ? a.bias[h] : 0;
    for (std::int64_t t = 0; t < k.padded_steps; ++t) {
      dt[t] = t < k.steps ? *a.dt.at(k.b, k.first + t, h) + bias : 0;
    }
    const V least = hn::Set(kTag, a.dt_min), most = hn::Set(kTag, a.dt_max);
    for (std::int64_t t = 0; t < k.padded_steps; t += kLanes) {
      V slopes = hn::Set(kTag, 1.0f), v = hn::Load(kTag, dt + t);
      if (a.softplus) v = softplus(v, &slopes);
      const auto outside = hn::Or(hn::Lt(v, least), hn::Gt(v, most));
      hn::Store(hn::IfThenZeroElse(outside, slopes), kTag, slope + t);
      hn::Store(hn::Min(most, hn::Max(least, v)), kTag, dt + t);  // NaN stays: it is the second argument
    }
    const double rate = static_cast<double>(a.A[h]) * 1.44269504088896340736;
    double s = 0;
    for (std::int64_t t = 0; t < k.padded_steps; ++t) {
      if (t < k.steps) s += static_cast<double>(dt[t]) * rate;
      high[t] = static_cast<float>(s);
      low[t] = static_cast<float>(s - high[t]);
    }
    const V end_high = hn::Set(kTag, high[k.steps - 1]), end_low = hn::Set(kTag, low[k.steps - 1]);
    for (std::int64_t t = 0; t < k.padded_steps; t += kLanes) {
      const V hi = hn::Load(kTag, high + t), lo = hn::Load(kTag, low + t);
      hn::Store(exp2_or_zero(hn::Add(hi, lo)), kTag, from_start + t);
      hn::Store(exp2_or_zero(hn::Add(hn::Sub(end_high, hi), hn::Sub(end_low, lo))), kTag, to_end + t);
    }
    total = from_start[k.steps - 1];
  }

  // exp(s_t - s_r) for the lanes at t; lanes with t < r + margin become 0.
  HWY_INLINE V between(std::int64_t r, std::int64_t t, bool mask) const {
    const V hi = hn::Sub(hn::Load(kTag, high + t), hn::Set(kTag, high[r]));
    const V lo = hn::Sub(hn::Load(kTag, low + t), hn::Set(kTag, low[r]));
    V x = hn::Add(hi, lo);
    if (mask) x = hn::IfThenElse(earlier(t, r), hn::Set(kTag, -1000.0f), x);
    return exp2_or_zero(x);
  }

  // Lanes t, t + 1, ... that come before step r.
  static HWY_INLINE hn::Mask<D> earlier(std::int64_t t, std::int64_t r) {
    return hn::Lt(hn::Iota(kTag, static_cast<float>(t - r)), hn::Zero(kTag));
  }
};

// to += factor * from over n floats, n a multiple of 4.
HWY_INLINE void add_scaled(const float* from, float factor, std::int64_t n, float* to) {
  const V f = hn::Set(kTag, factor);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    store_part(hn::MulAdd(f, load_part(from + i, n - i), load_part(to + i, n - i)), to + i, n - i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_SSD_CHUNK_INL_H
