// Vector code, compiled once per instruction set: the chunked form of README.md. Within a chunk, lanes run over steps t
// ("tile": T steps); what depends on a pair of steps is a block [r][T] of earlier steps r by the steps of a tile.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <cmath>

#include "kernels/ssd/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

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

float* state_of(const Args<float>& a, float* states, std::int64_t b, std::int64_t c, std::int64_t h) {
  return states + ((b * (a.chunks() + 1) + c) * a.H + h) * a.P * padded(a.N);
}

// out[i] = factor * in[i], zeros from n to width.
HWY_INLINE void scale_padded(const float* in, float factor, std::int64_t n, std::int64_t width, float* out) {
  scale_row(in, factor, n, out);
  for (std::int64_t i = n; i < width; ++i) out[i] = 0;
}

// Rows [padded_steps][width] of a chunk: those of x, zeros behind its features and behind the last step.
void pack_rows(const Chunk& k, const Rows<float>& x, std::int64_t i, std::int64_t features, std::int64_t width,
               float* out) {
  for (std::int64_t t = 0; t < k.steps; ++t, out += width) {
    scale_padded(x.at(k.b, k.first + t, i), 1.0f, features, width, out);
  }
  std::fill_n(out, (k.padded_steps - k.steps) * width, 0.0f);
}

// x_T[feature][T] of T rows of `width` floats.
void transpose_tile(const float* rows, std::int64_t width, std::int64_t features, std::int64_t tile, float* x_T) {
  for (std::int64_t t = 0; t < tile; t += 4, rows += 4 * width) {
    const float* four[4] = {rows, rows + width, rows + 2 * width, rows + 3 * width};
    transpose_rows(four, 1.0f, features, tile, x_T + t);
  }
}

// The first `count` rows, `stride` apart, of a transposed tile.
void write_tile(const float* x_T, std::int64_t features, std::int64_t tile, std::int64_t count, std::int64_t stride,
                float* rows) {
  for (std::int64_t t = 0; t < count; t += 4, rows += 4 * stride) {
    float* const four[4] = {rows, rows + stride, rows + 2 * stride, rows + 3 * stride};
    write_rows(x_T + t, 1.0f, features, tile, std::min<std::int64_t>(4, count - t), four);
  }
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

// states[p][n] = sum over steps of x[t][p] * factor[t] * rows[t][n]; `scaled` is scratch [steps][width].
void sum_of_outer_products(const Args<float>& a, const Chunk& k, const Rows<float>& x, std::int64_t h,
                           const Rows<float>& rows, const float* factor, float* scaled, float* state) {
  const std::int64_t width = padded(a.N);
  for (std::int64_t t = 0; t < k.steps; ++t) {
    scale_padded(rows.at(k.b, k.first + t, h / (a.H / a.G)), factor[t], a.N, width, scaled + t * width);
  }
  std::fill_n(state, a.P * width, 0.0f);
  sum_over_rows({x.at(k.b, k.first, h), 1, x.sl}, k.steps, a.P, scaled, width, state);
}

// Both local passes: the state that the steps of a chunk leave at its end, and the gradient of the state before it.
template <bool kBackward>
void local_pass(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t longest = (std::min(a.chunk, a.L) + kLanes - 1) / kLanes * kLanes;
  Scratch scratch(Head::kArrays * Scratch::round_up(longest) + longest * padded(a.N) + 32);
  Head head(scratch, longest);
  float* scaled = scratch.take(longest * padded(a.N));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t h = task % a.H, c = task / a.H % a.chunks(), b = task / a.H / a.chunks();
    const Chunk k = make_chunk<kLanes>(a, b, c);
    head.prepare(a, k, h);
    a.decay[task] = head.total;
    if (kBackward) {
      sum_of_outer_products(a, k, a.dy, h, a.Cm, head.from_start, scaled, state_of(a, a.dstates, b, c, h));
    } else {
      for (std::int64_t t = 0; t < k.steps; ++t) head.to_end[t] *= head.dt[t];
      sum_of_outer_products(a, k, a.x, h, a.Bm, head.to_end, scaled, state_of(a, a.states, b, c + 1, h));
    }
  }
}

void chunk_states_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  local_pass<false>(a, begin, end);
}
void chunk_gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  local_pass<true>(a, begin, end);
}

// to += factor * from over n floats, n a multiple of 4.
HWY_INLINE void add_scaled(const float* from, float factor, std::int64_t n, float* to) {
  const V f = hn::Set(kTag, factor);
  for (std::int64_t i = 0; i < n; i += kLanes) {
    store_part(hn::MulAdd(f, load_part(from + i, n - i), load_part(to + i, n - i)), to + i, n - i);
  }
}

// Copies [P][N] to rows of the padded width, or back; a null source is zeros.
void widen_state(const Args<float>& a, const float* from, float* to) {
  const std::int64_t width = padded(a.N);
  for (std::int64_t p = 0; p < a.P; ++p) {
    std::fill_n(to + p * width, width, 0.0f);
    if (from) std::copy_n(from + p * a.N, a.N, to + p * width);
  }
}

void narrow_state(const Args<float>& a, const float* from, float* to) {
  for (std::int64_t p = 0; p < a.P; ++p) std::copy_n(from + p * padded(a.N), a.N, to + p * a.N);
}

void pass_states_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = a.P * padded(a.N), chunks = a.chunks();
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / a.H, h = task % a.H;
    widen_state(a, a.h0 ? a.h0 + task * a.P * a.N : nullptr, state_of(a, a.states, b, 0, h));
    for (std::int64_t c = 0; c < chunks; ++c) {
      add_scaled(state_of(a, a.states, b, c, h), a.decay[(b * chunks + c) * a.H + h], size,
                 state_of(a, a.states, b, c + 1, h));
    }
    narrow_state(a, state_of(a, a.states, b, chunks, h), a.h + task * a.P * a.N);
  }
}

void pass_gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t size = a.P * padded(a.N), chunks = a.chunks();
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / a.H, h = task % a.H;
    widen_state(a, a.dh ? a.dh + task * a.P * a.N : nullptr, state_of(a, a.dstates, b, chunks, h));
    for (std::int64_t c = chunks - 1; c >= 0; --c) {
      add_scaled(state_of(a, a.dstates, b, c + 1, h), a.decay[(b * chunks + c) * a.H + h], size,
                 state_of(a, a.dstates, b, c, h));
    }
    if (a.dh0) narrow_state(a, state_of(a, a.dstates, b, 0, h), a.dh0 + task * a.P * a.N);
  }
}

// What the heads of a group share in one chunk: B by rows, C by tiles, and C_t . B_r for every pair r <= t.
template <std::size_t NV>
struct Group {
  static constexpr std::int64_t T = NV * kLanes;
  const Args<float>& a;
  const std::int64_t longest, width;
  float *B_rows, *C_rows, *C_T, *pairs;  // [steps][width] twice, [tiles][N][T], [tiles][steps][T]

  static std::int64_t longest_of(const Args<float>& a) { return (std::min(a.chunk, a.L) + T - 1) / T * T; }
  static std::int64_t floats(const Args<float>& a) {
    const std::int64_t steps = longest_of(a);
    return steps * (2 * padded(a.N) + a.N + steps) + 64;
  }
  Group(const Args<float>& args, Scratch& scratch) : a(args), longest(longest_of(args)), width(padded(args.N)) {
    B_rows = scratch.take(longest * width);
    C_rows = scratch.take(longest * width);
    C_T = scratch.take(longest * a.N);
    pairs = scratch.take(longest * longest);
  }
  float* C_tile(std::int64_t tile) const { return C_T + tile * a.N * T; }
  float* pair_tile(std::int64_t tile) const { return pairs + tile * longest * T; }
  // Steps that the steps of a tile can see.
  static std::int64_t seen(const Chunk& k, std::int64_t tile) { return std::min(k.steps, (tile + 1) * T); }

  void prepare(const Chunk& k, std::int64_t g) {
    pack_rows(k, a.Bm, g, a.N, width, B_rows);
    pack_rows(k, a.Cm, g, a.N, width, C_rows);
    for (std::int64_t i = 0; i < k.padded_steps / T; ++i) {
      transpose_tile(C_rows + i * T * width, width, a.N, T, C_tile(i));
      products<NV>(C_tile(i), a.N, B_rows, width, seen(k, i), pair_tile(i));
    }
  }
};

template <std::size_t NV>
void outputs_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t T = NV * kLanes;
  const std::int64_t longest = Group<NV>::longest_of(a), heads = a.H / a.G;
  Scratch scratch(Group<NV>::floats(a) + Head::kArrays * longest + T * (longest + a.P) + 256);
  Group<NV> group(a, scratch);
  Head head(scratch, longest);
  float *weights = scratch.take(longest * T), *y_T = scratch.take(a.P * T);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t g = task % a.G, c = task / a.G % a.chunks(), b = task / a.G / a.chunks();
    const Chunk k = make_chunk<T>(a, b, c);
    group.prepare(k, g);
    for (std::int64_t h = g * heads; h < (g + 1) * heads; ++h) {
      head.prepare(a, k, h);
      const float D_h = a.D ? a.D[h] : 0;
      for (std::int64_t i = 0; i < k.padded_steps / T; ++i) {
        const std::int64_t t0 = i * T, seen = group.seen(k, i);
        const float* pairs = group.pair_tile(i);
        V from_start[NV];
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) from_start[j] = hn::Load(kTag, head.from_start + t0 + j * kLanes);
        for (std::int64_t r = 0; r < seen; ++r) {
          const V dt = hn::Set(kTag, head.dt[r]);
          HYMBA_UNROLL
          for (std::size_t j = 0; j < NV; ++j) {
            const std::int64_t at = r * T + j * kLanes;
            const V decay = head.between(r, t0 + j * kLanes, r >= t0);
            hn::Store(hn::Mul(hn::Mul(hn::Load(kTag, pairs + at), dt), decay), kTag, weights + at);
          }
        }
        for (std::int64_t r = t0; r < seen; ++r) weights[r * T + r - t0] += D_h;
        // y = exp(s_t) h C_t + sum over r <= t of exp(s_t - s_r) (C_t . B_r) dt_r x_r + D x_t
        products<NV>(group.C_tile(i), a.N, state_of(a, a.states, b, c, h), group.width, a.P, y_T);
        accumulate<NV>(weights, seen, a.x.at(b, k.first, h), a.x.sl, a.P, y_T, from_start);
        write_tile(y_T, a.P, T, std::min(k.steps - t0, T), a.H * a.P, a.y + ((b * a.L + k.first + t0) * a.H + h) * a.P);
      }
    }
  }
}

// The gradients of one head in one chunk (README.md, equations 7 to 14).
template <std::size_t NV>
struct HeadGradient {
  static constexpr std::int64_t T = NV * kLanes;
  const Args<float>& a;
  const Group<NV>& group;
  const std::int64_t longest, width, x_width;
  Head head;
  float *dy_rows, *du, *du_state, *u_rows;       // [steps][x_width] three times, [steps][P]
  float *dy_T, *decayed_T, *by_B, *by_x, *dC_h;  // [P][T] twice, [steps][T] twice, [N][T]
  float *dh_T, *ds, *by_dt;                      // [N][x_width], [steps] twice

  static std::int64_t floats(const Args<float>& a) {
    const std::int64_t steps = Group<NV>::longest_of(a);
    return steps * (Head::kArrays + 3 * padded(a.P) + a.P + 2 * T + 2) + T * (2 * a.P + a.N) + a.N * padded(a.P) + 512;
  }
  HeadGradient(const Args<float>& args, const Group<NV>& shared, Scratch& scratch)
      : a(args),
        group(shared),
        longest(shared.longest),
        width(shared.width),
        x_width(padded(args.P)),
        head(scratch, longest) {
    for (float** rows : {&dy_rows, &du, &du_state}) *rows = scratch.take(longest * x_width);
    u_rows = scratch.take(longest * a.P);
    for (float** tile : {&dy_T, &decayed_T}) *tile = scratch.take(a.P * T);
    for (float** tile : {&by_B, &by_x}) *tile = scratch.take(longest * T);
    dC_h = scratch.take(a.N * T);
    dh_T = scratch.take(a.N * x_width);
    for (float** array : {&ds, &by_dt}) *array = scratch.take(longest);
  }

  // One tile of steps t: adds to dB, du and ds of the steps r <= t; writes this head's dC.
  void tile(const Chunk& k, std::int64_t h, std::int64_t i, float* dB) {
    const std::int64_t t0 = i * T, seen = group.seen(k, i);
    const float *C_T = group.C_tile(i), *pairs = group.pair_tile(i);
    V one[NV], row_sum[NV];
    transpose_tile(dy_rows + t0 * x_width, x_width, a.P, T, dy_T);
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      one[j] = hn::Set(kTag, 1.0f), row_sum[j] = hn::Zero(kTag);
      const V from_start = hn::Load(kTag, head.from_start + t0 + j * kLanes);
      for (std::int64_t p = 0; p < a.P; ++p) {
        const std::int64_t at = p * T + j * kLanes;
        hn::Store(hn::Mul(from_start, hn::Load(kTag, dy_T + at)), kTag, decayed_T + at);
      }
    }
    // Through the state before the chunk: exp(s_t) h^T dy_t.
    std::fill_n(dC_h, a.N * T, 0.0f);
    accumulate<NV>(decayed_T, a.P, state_of(a, a.states, k.b, k.c, h), width, a.N, dC_h, one);
    for (std::int64_t n = 0; n < a.N; ++n) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        const std::int64_t at = n * T + j * kLanes;
        row_sum[j] = hn::MulAdd(hn::Load(kTag, C_T + at), hn::Load(kTag, dC_h + at), row_sum[j]);
      }
    }
    // Through the steps of the chunk. by_B: exp(s_t - s_r) dy_t . u_r, by_x: exp(s_t - s_r) C_t . B_r.
    products<NV>(dy_T, a.P, a.x.at(k.b, k.first, h), a.x.sl, seen, by_B);
    for (std::int64_t r = 0; r < seen; ++r) {
      const V dt = hn::Set(kTag, head.dt[r]);
      V column_sum = hn::Zero(kTag);
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        const std::int64_t at = r * T + j * kLanes, t = t0 + j * kLanes;
        const V decay = head.between(r, t, r >= t0), pair = hn::Load(kTag, pairs + at);
        const V b = hn::Mul(hn::Mul(hn::Load(kTag, by_B + at), dt), decay);
        V both = hn::Mul(b, pair);
        if (r >= t0) both = hn::IfThenZeroElse(Head::earlier(t, r + 1), both);  // t = r: no decay between them
        row_sum[j] = hn::Add(row_sum[j], both);
        column_sum = hn::Add(column_sum, both);
        hn::Store(b, kTag, by_B + at);
        hn::Store(hn::Mul(pair, decay), kTag, by_x + at);
      }
      ds[r] -= hn::GetLane(hn::SumOfLanes(kTag, column_sum));
    }
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      float* to = ds + t0 + j * kLanes;
      hn::Store(hn::Add(hn::Load(kTag, to), row_sum[j]), kTag, to);
    }
    accumulate<NV>(by_B, seen, group.B_rows, width, a.N, dC_h, one);
    sum_over_rows({by_B, T, 1}, T, seen, group.C_rows + t0 * width, width, dB);
    sum_over_rows({by_x, T, 1}, T, seen, dy_rows + t0 * x_width, x_width, du);
  }

  // Through the state after the chunk, with its gradient dh: to dB and to du.
  void from_state(const Chunk& k, std::int64_t h, const float* dh, float* dB) {
    for (std::int64_t t = 0; t < k.steps; ++t) {
      scale_row(a.x.at(k.b, k.first + t, h), head.dt[t] * head.to_end[t], a.P, u_rows + t * a.P);
    }
    sum_over_rows({u_rows, a.P, 1}, a.P, k.steps, dh, width, dB);
    for (std::int64_t p = 0; p < x_width; p += 4) {
      const std::int64_t last = a.P - 1;
      const float* rows[4];  // past the last one: repeated into the padding
      for (std::int64_t i = 0; i < 4; ++i) rows[i] = dh + std::min(p + i, last) * width;
      transpose_rows(rows, 1.0f, a.N, x_width, dh_T + p);
    }
    std::fill_n(du_state, k.steps * x_width, 0.0f);
    sum_over_rows({group.B_rows, width, 1}, a.N, k.steps, dh_T, x_width, du_state);
  }

  // dx, ddt and this chunk's share of dA, dD and dbias.
  void finish(const Chunk& k, std::int64_t h, const float* dh) {
    const float *h_in = state_of(a, a.states, k.b, k.c, h), D_h = a.D ? a.D[h] : 0;
    V state_dot = hn::Zero(kTag), skip_sum = hn::Zero(kTag);
    for (std::int64_t i = 0; i < a.P * width; i += kLanes) {
      const std::int64_t left = a.P * width - i;
      state_dot = hn::MulAdd(load_part(dh + i, left), load_part(h_in + i, left), state_dot);
    }
    // exp(s_last): all of it through the state, the end's exp(s_last - s_r) of every step r.
    double suffix = static_cast<double>(head.total) * hn::GetLane(hn::SumOfLanes(kTag, state_dot));
    for (std::int64_t t = 0; t < k.steps; ++t) {
      const V dt = hn::Set(kTag, head.dt[t]), to_end = hn::Set(kTag, head.to_end[t]), skip = hn::Set(kTag, D_h);
      const float* x = a.x.at(k.b, k.first + t, h);
      float* dx = a.dx + ((k.b * a.L + k.first + t) * a.H + h) * a.P;
      V x_du = hn::Zero(kTag), x_state = hn::Zero(kTag);
      for (std::int64_t p = 0; p < a.P; p += kLanes) {
        const std::int64_t left = a.P - p;
        const V xs = load_part(x + p, left), dy = load_part(dy_rows + t * x_width + p, left);
        const V by_state = hn::Mul(to_end, load_part(du_state + t * x_width + p, left));
        const V all = hn::Add(by_state, load_part(du + t * x_width + p, left));
        x_state = hn::MulAdd(xs, by_state, x_state);
        x_du = hn::MulAdd(xs, all, x_du);
        skip_sum = hn::MulAdd(xs, dy, skip_sum);
        store_part(hn::MulAdd(dt, all, hn::Mul(skip, dy)), dx + p, left);
      }
      by_dt[t] = hn::GetLane(hn::SumOfLanes(kTag, x_du));
      const float kept = head.dt[t] * hn::GetLane(hn::SumOfLanes(kTag, x_state));
      ds[t] -= kept;
      suffix += kept;
    }
    // s_t is a sum over the steps up to t: the gradient of dt_t A is the sum of ds over the steps from t on.
    double dA = 0, dbias = 0;
    for (std::int64_t t = k.steps - 1; t >= 0; --t) {
      suffix += ds[t];
      const float ddt = head.slope[t] * (by_dt[t] + a.A[h] * static_cast<float>(suffix));
      a.ddt[(k.b * a.L + k.first + t) * a.H + h] = ddt;
      dA += head.dt[t] * suffix;
      dbias += ddt;
    }
    const std::int64_t at = (k.b * a.chunks() + k.c) * a.H + h;
    a.dA[at] = static_cast<float>(dA);
    if (a.dbias) a.dbias[at] = static_cast<float>(dbias);
    if (a.dD) a.dD[at] = hn::GetLane(hn::SumOfLanes(kTag, skip_sum));
  }
};

template <std::size_t NV>
void gradients_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t T = NV * kLanes;
  const std::int64_t longest = Group<NV>::longest_of(a), heads = a.H / a.G, width = padded(a.N);
  Scratch scratch(Group<NV>::floats(a) + HeadGradient<NV>::floats(a) + longest * (width + a.N) + 64);
  Group<NV> group(a, scratch);
  HeadGradient<NV> head(a, group, scratch);
  float *dB = scratch.take(longest * width), *dC_T = scratch.take(longest * a.N);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t g = task % a.G, c = task / a.G % a.chunks(), b = task / a.G / a.chunks();
    const Chunk k = make_chunk<T>(a, b, c);
    group.prepare(k, g);
    std::fill_n(dB, k.padded_steps * width, 0.0f);
    std::fill_n(dC_T, k.padded_steps * a.N, 0.0f);
    for (std::int64_t h = g * heads; h < (g + 1) * heads; ++h) {
      const float* dh = state_of(a, a.dstates, b, c + 1, h);
      head.head.prepare(a, k, h);
      pack_rows(k, a.dy, h, a.P, head.x_width, head.dy_rows);
      std::fill_n(head.du, k.padded_steps * head.x_width, 0.0f);
      std::fill_n(head.ds, k.padded_steps, 0.0f);
      for (std::int64_t i = 0; i < k.padded_steps / T; ++i) {
        head.tile(k, h, i, dB);
        add_scaled(head.dC_h, 1.0f, a.N * T, dC_T + i * a.N * T);
      }
      head.from_state(k, h, dh, dB);
      head.finish(k, h, dh);
    }
    const std::int64_t row = ((b * a.L + k.first) * a.G + g) * a.N;
    for (std::int64_t t = 0; t < k.steps; ++t) std::copy_n(dB + t * width, a.N, a.dB + row + t * a.G * a.N);
    for (std::int64_t t = 0; t < k.steps; t += T) {
      write_tile(dC_T + t * a.N, a.N, T, std::min(k.steps - t, T), a.G * a.N, a.dC + row + t * a.G * a.N);
    }
  }
}

// Two vectors of steps a tile halve the broadcasts; a tile of one wastes less on pairs that the causal order hides.
bool two_vectors(const Args<float>& a) { return std::min(a.chunk, a.L) >= 4 * kLanes && a.P * a.N >= 1024; }

void outputs_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? outputs_range<2>(a, begin, end) : outputs_range<1>(a, begin, end);
}

void gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? gradients_range<2>(a, begin, end) : gradients_range<1>(a, begin, end);
}

// One step: lanes run over the state's N.
void step_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  Scratch scratch(Head::kArrays * kLanes + 128);
  Head head(scratch, kLanes);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / a.H, h = task % a.H, g = h / (a.H / a.G);
    head.prepare(a, {b, 0, 0, 1, kLanes}, h);
    const float *x = a.x.at(b, 0, h), *B = a.Bm.at(b, 0, g), *C = a.Cm.at(b, 0, g);
    const V decay = hn::Set(kTag, head.total);
    for (std::int64_t p = 0; p < a.P; ++p) {
      const V u = hn::Set(kTag, head.dt[0] * x[p]);
      float* state = a.h + (task * a.P + p) * a.N;
      V sum = hn::Zero(kTag);
      for (std::int64_t n = 0; n < a.N; n += kLanes) {
        const std::int64_t left = a.N - n;
        const V next = hn::MulAdd(decay, load_part(state + n, left), hn::Mul(u, load_part(B + n, left)));
        store_part(next, state + n, left);
        sum = hn::MulAdd(next, load_part(C + n, left), sum);
      }
      a.y[task * a.P + p] = hn::GetLane(hn::SumOfLanes(kTag, sum)) + (a.D ? a.D[h] * x[p] : 0);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::ssd_detail {

HWY_EXPORT(chunk_states_tasks);
HWY_EXPORT(pass_states_tasks);
HWY_EXPORT(outputs_tasks);
HWY_EXPORT(chunk_gradients_tasks);
HWY_EXPORT(pass_gradients_tasks);
HWY_EXPORT(gradients_tasks);
HWY_EXPORT(step_tasks);

std::int64_t state_floats(const Args<float>& a) { return a.B * (a.chunks() + 1) * a.H * a.P * padded(a.N); }

void chunk_states(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(chunk_states_tasks)(a, begin, end);
}
void pass_states(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(pass_states_tasks)(a, begin, end);
}
void outputs(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(outputs_tasks)(a, begin, end);
}
void chunk_gradients(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(chunk_gradients_tasks)(a, begin, end);
}
void pass_gradients(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(pass_gradients_tasks)(a, begin, end);
}
void gradients(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(gradients_tasks)(a, begin, end);
}
void step(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(step_tasks)(a, begin, end);
}

}  // namespace hymba::kernels::ssd_detail
#endif  // HWY_ONCE
