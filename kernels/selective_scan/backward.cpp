// The walk back, with the tasks, tiles and chunks of forward.cpp: each tile is recomputed from its kept state, then
// walked back in the L1 cache.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <type_traits>

#include "kernels/selective_scan/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/backward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/selective_scan/tasks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::scan {
namespace HWY_NAMESPACE {

// Scratch tiles of a chunk in the backward pass, [kTile, kChunk] each (h: [kTile + 1, kChunk]).
struct BackwardTiles {
  float *dt, *w, *slope;  // dt, dt * u, d dt / d (dt before softplus)
  float *gy, *y;          // gradient of y before the gate, and y before the gate
  float *dw, *dp;         // gradients of w and, over A2, of dt * A2 (times log2(e))
  float *a, *h;           // one state's decays and values
  float *pB, *pC;         // [kTile, kLanes]: a step's products, still to be summed over lanes
  float *dB, *dC;         // [N, kTile]: sums over the task's channels
};

// Recomputes one state over a tile for two vectors of channels.
HWY_INLINE void recompute(const BackwardTiles& s, std::int64_t v, const float* HWY_RESTRICT B, std::int64_t B_stride,
                          const float* HWY_RESTRICT C, std::int64_t C_stride, const float* HWY_RESTRICT A2, bool with_y,
                          std::int64_t steps, const Ahead& ahead, int first, int last) {
  FloatVec h0 = hn::Load(kTag, s.h + v), h1 = hn::Load(kTag, s.h + v + kLanes);
  const FloatVec A0 = hn::Load(kTag, A2), A1 = hn::Load(kTag, A2 + kLanes);
  for (std::int64_t t = 0; t < steps; ++t) {
    const std::int64_t i = t * kChunk + v, j = i + kLanes;
    const FloatVec b = hn::Set(kTag, B[t * B_stride]);
    const FloatVec a0 = exp2_product(hn::Load(kTag, s.dt + i), A0), a1 = exp2_product(hn::Load(kTag, s.dt + j), A1);
    h0 = hn::MulAdd(a0, h0, hn::Mul(hn::Load(kTag, s.w + i), b));
    h1 = hn::MulAdd(a1, h1, hn::Mul(hn::Load(kTag, s.w + j), b));
    hn::Store(a0, kTag, s.a + i);
    hn::Store(a1, kTag, s.a + j);
    hn::Store(h0, kTag, s.h + i + kChunk);
    hn::Store(h1, kTag, s.h + j + kChunk);
    if (with_y) {
      const FloatVec c = hn::Set(kTag, C[t * C_stride]);
      hn::Store(hn::MulAdd(h0, c, hn::Load(kTag, s.y + i)), kTag, s.y + i);
      hn::Store(hn::MulAdd(h1, c, hn::Load(kTag, s.y + j)), kTag, s.y + j);
    }
    ahead.fetch(first, last, t);
  }
}

// Walks one state back over a tile for two vectors of channels. `carry` is the gradient of the state before the tile's
// end (in) and before its start (out); dA collects the gradient of A.
HWY_INLINE void walk_back(const BackwardTiles& s, std::int64_t v, const float* HWY_RESTRICT B, std::int64_t B_stride,
                          const float* HWY_RESTRICT C, std::int64_t C_stride, const float* HWY_RESTRICT A2,
                          float* HWY_RESTRICT carry, float* HWY_RESTRICT dA, bool first, std::int64_t steps) {
  FloatVec c0 = hn::Load(kTag, carry), c1 = hn::Load(kTag, carry + kLanes);
  FloatVec dA0 = hn::Load(kTag, dA), dA1 = hn::Load(kTag, dA + kLanes);
  const FloatVec A0 = hn::Load(kTag, A2), A1 = hn::Load(kTag, A2 + kLanes);
  FloatVec h0 = hn::Load(kTag, s.h + steps * kChunk + v), h1 = hn::Load(kTag, s.h + steps * kChunk + v + kLanes);
  for (std::int64_t t = steps - 1; t >= 0; --t) {
    const std::int64_t i = t * kChunk + v, j = i + kLanes;
    const FloatVec b = hn::Set(kTag, B[t * B_stride]), c = hn::Set(kTag, C[t * C_stride]);
    const FloatVec gy0 = hn::Load(kTag, s.gy + i), gy1 = hn::Load(kTag, s.gy + j);
    const FloatVec g0 = hn::MulAdd(gy0, c, c0), g1 = hn::MulAdd(gy1, c, c1);
    FloatVec pC = hn::MulAdd(gy0, h0, hn::Mul(gy1, h1));
    FloatVec pB = hn::MulAdd(g0, hn::Load(kTag, s.w + i), hn::Mul(g1, hn::Load(kTag, s.w + j)));
    if (!first) {
      pC = hn::Add(pC, hn::Load(kTag, s.pC + t * kLanes));
      pB = hn::Add(pB, hn::Load(kTag, s.pB + t * kLanes));
    }
    hn::Store(pC, kTag, s.pC + t * kLanes);
    hn::Store(pB, kTag, s.pB + t * kLanes);
    hn::Store(hn::MulAdd(g0, b, hn::Load(kTag, s.dw + i)), kTag, s.dw + i);
    hn::Store(hn::MulAdd(g1, b, hn::Load(kTag, s.dw + j)), kTag, s.dw + j);
    c0 = hn::Mul(g0, hn::Load(kTag, s.a + i));
    c1 = hn::Mul(g1, hn::Load(kTag, s.a + j));
    h0 = hn::Load(kTag, s.h + i);
    h1 = hn::Load(kTag, s.h + j);
    const FloatVec d0 = hn::Mul(c0, h0), d1 = hn::Mul(c1, h1);  // gradient of dt * A
    hn::Store(hn::MulAdd(d0, A0, hn::Load(kTag, s.dp + i)), kTag, s.dp + i);
    hn::Store(hn::MulAdd(d1, A1, hn::Load(kTag, s.dp + j)), kTag, s.dp + j);
    dA0 = hn::MulAdd(d0, hn::Load(kTag, s.dt + i), dA0);
    dA1 = hn::MulAdd(d1, hn::Load(kTag, s.dt + j), dA1);
  }
  hn::Store(c0, kTag, carry);
  hn::Store(c1, kTag, carry + kLanes);
  hn::Store(dA0, kTag, dA);
  hn::Store(dA1, kTag, dA + kLanes);
}

// Fills dt, w, slope, gy and y (before the states add to it), clears dw and dp; leaves dy * silu'(z) in the rows of dz.
HWY_INLINE void begin_chunk(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad,
                            const BackwardTiles& x, std::int64_t b, std::int64_t t0, std::int64_t steps,
                            std::int64_t e0, std::int64_t chunk) {
  const FloatVec zero = hn::Zero(kTag), one = hn::Set(kTag, 1.0f);
  for (std::int64_t v = 0; v < kChunk; v += kLanes) {
    const std::int64_t e = e0 + v, count = std::max<std::int64_t>(chunk - v, 0);
    if (count == 0 && v % (2 * kLanes) == 0) break;  // the states are walked two vectors at a time
    const FloatVec bias = count ? load_channel(in.dt_bias, e, count) : zero;
    const FloatVec skip = count ? load_channel(in.D, e, count) : zero;
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t i = t * kChunk + v;
      FloatVec step = zero, slope = one, u = zero, gy = zero;
      if (count) {
        step = hn::Add(load_part(in.dt.row(b, t0 + t) + e, count), bias);
        if (s.softplus) step = softplus(step, &slope);
        u = load_part(in.u.row(b, t0 + t) + e, count);
        gy = load_part(grad.y.row(b, t0 + t) + e, count);
        if (in.z.data) {
          const FloatVec z = load_part(in.z.row(b, t0 + t) + e, count), sig = sigmoid(z);
          const FloatVec derivative = hn::Mul(sig, hn::MulAdd(z, hn::Sub(one, sig), one));
          store_part(hn::Mul(gy, derivative), grad.z.row(b, t0 + t) + e, count);
          gy = hn::Mul(gy, hn::Mul(z, sig));
        }
      }
      hn::Store(step, kTag, x.dt + i);
      hn::Store(slope, kTag, x.slope + i);
      hn::Store(hn::Mul(step, u), kTag, x.w + i);
      hn::Store(hn::Mul(skip, u), kTag, x.y + i);
      hn::Store(gy, kTag, x.gy + i);
      hn::Store(zero, kTag, x.dw + i);
      hn::Store(zero, kTag, x.dp + i);
    }
  }
}

// From the gradients of w = dt * u and of dt * A to those of the inputs; D and dt_bias are summed over the steps.
HWY_INLINE void end_chunk(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, const BackwardTiles& x,
                          std::int64_t b, std::int64_t t0, std::int64_t steps, std::int64_t e0, std::int64_t chunk,
                          float* HWY_RESTRICT dD, float* HWY_RESTRICT dbias) {
  const FloatVec ln2 = hn::Set(kTag, kLn2);
  for (std::int64_t v = 0; v < chunk; v += kLanes) {
    const std::int64_t e = e0 + v, count = chunk - v;
    const FloatVec skip = load_channel(in.D, e, count);
    FloatVec sum_D = hn::Load(kTag, dD + v), sum_bias = hn::Load(kTag, dbias + v);
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t i = t * kChunk + v;
      const FloatVec u = load_part(in.u.row(b, t0 + t) + e, count);
      const FloatVec gy = hn::Load(kTag, x.gy + i), dw = hn::Load(kTag, x.dw + i);
      // Every load of the step before its stores: rows of different tensors often share their low address bits.
      float* dz = in.z.data ? grad.z.row(b, t0 + t) + e : nullptr;
      const FloatVec dz_t = dz ? hn::Mul(load_part(dz, count), hn::Load(kTag, x.y + i)) : u;
      FloatVec ddt = hn::MulAdd(dw, u, hn::Mul(hn::Load(kTag, x.dp + i), ln2));
      ddt = hn::Mul(ddt, hn::Load(kTag, x.slope + i));
      const FloatVec du = hn::MulAdd(dw, hn::Load(kTag, x.dt + i), hn::Mul(skip, gy));
      store_part(ddt, grad.dt.row(b, t0 + t) + e, count);
      store_part(du, grad.u.row(b, t0 + t) + e, count);
      if (dz) store_part(dz_t, dz, count);
      sum_D = hn::MulAdd(gy, u, sum_D);
      sum_bias = hn::Add(sum_bias, ddt);
    }
    hn::Store(sum_D, kTag, dD + v);
    hn::Store(sum_bias, kTag, dbias + v);
  }
}

std::int64_t backward_floats(const Shape& s, std::int64_t width) {
  return 9 * kTileFloats + kChunk + 2 * kTile * kLanes + 2 * s.states * kTile + 4 * s.states * width + 2 * width;
}

void backward_task(const Shape& s, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
                   const Spans& spans, const Task& task, float* scratch) {
  const std::int64_t N = s.states, width = task.width, B_stride = in.B.row_stride, C_stride = in.C.row_stride;
  const std::int64_t channels = task.last - task.first;
  const auto take = [&scratch](std::int64_t floats) {
    float* p = scratch;
    scratch += floats;
    return p;
  };
  BackwardTiles x;
  for (float** tile : {&x.dt, &x.w, &x.slope, &x.gy, &x.y, &x.dw, &x.dp, &x.a}) *tile = take(kTileFloats);
  x.h = take(kTileFloats + kChunk);
  x.pB = take(kTile * kLanes), x.pC = take(kTile * kLanes);
  x.dB = take(N * kTile), x.dC = take(N * kTile);
  float* A2 = take(N * width);
  float* carry = take(N * width);
  float* dA = take(N * width);
  float* start = take(N * width);  // the tile's first state
  float* dD = take(width);
  float* dbias = take(width);
  load_states(in.A + task.first * N, channels, N, width, kLog2e, A2);
  load_states(state_at_entry(s, spans, task, grad.h), channels, N, width, 1.0f, carry);
  std::fill(dA, dA + N * width, 0.0f);
  std::fill(start, start + N * width, 0.0f);
  std::fill(dD, dD + 2 * width, 0.0f);
  // Lanes behind the last step of an odd tile are summed but not used; they must be numbers all the same.
  std::fill(x.pB, x.pB + 2 * kTile * kLanes, 0.0f);

  for (std::int64_t i = task.begin; i < task.end; ++i) {
    const std::int64_t tile = s.tiles() - 1 - i;
    const std::int64_t t0 = tile * kTile, steps = std::min(kTile, s.length - t0);
    const float* kept = states + (task.b * s.tiles() + tile) * N * s.channels + task.first;
    for (std::int64_t n = 0; n < N; ++n)
      std::copy(kept + n * s.channels, kept + n * s.channels + channels, start + n * width);
    const float* B = in.B.row(task.b, t0) + task.group * N;
    const float* C = in.C.row(task.b, t0) + task.group * N;
    std::fill(x.dB, x.dB + 2 * N * kTile, 0.0f);
    for (std::int64_t e0 = task.first; e0 < task.last; e0 += kChunk) {
      const std::int64_t chunk = std::min(kChunk, task.last - e0), offset = e0 - task.first;
      const bool at_end = e0 + kChunk >= task.last;
      Ahead ahead(task.b, at_end ? t0 - kTile : t0, at_end ? task.first : e0 + kChunk, at_end ? t0 : steps);
      ahead.add(in.u), ahead.add(in.dt), ahead.add(in.z), ahead.add(grad.y);
      ahead.add(grad.u), ahead.add(grad.dt), ahead.add(grad.z);
      const std::int64_t pairs = (chunk + 2 * kLanes - 1) / (2 * kLanes);
      begin_chunk(s, in, grad, x, task.b, t0, steps, e0, chunk);
      for (std::int64_t n = 0; n < N; ++n) {
        for (std::int64_t v = 0; v < chunk; v += 2 * kLanes) {
          const std::int64_t at = n * width + offset + v;
          hn::Store(hn::Load(kTag, start + at), kTag, x.h + v);
          hn::Store(hn::Load(kTag, start + at + kLanes), kTag, x.h + v + kLanes);
          int first, last;
          ahead.share(n * pairs + v / (2 * kLanes), N * pairs, &first, &last);
          recompute(x, v, B + n, B_stride, C + n, C_stride, A2 + at, in.z.data != nullptr, steps, ahead, first, last);
          walk_back(x, v, B + n, B_stride, C + n, C_stride, A2 + at, carry + at, dA + at, v == 0, steps);
        }
        for (std::int64_t t = 0; t < steps; t += kLanes) {
          float* dB = x.dB + n * kTile + t;
          float* dC = x.dC + n * kTile + t;
          hn::Store(hn::Add(hn::Load(kTag, dB), sum_rows(x.pB + t * kLanes)), kTag, dB);
          hn::Store(hn::Add(hn::Load(kTag, dC), sum_rows(x.pC + t * kLanes)), kTag, dC);
        }
      }
      end_chunk(s, in, grad, x, task.b, t0, steps, e0, chunk, dD + offset, dbias + offset);
    }
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t row = (((task.block * s.batch + task.b) * s.length + t0 + t) * s.groups + task.group) * N;
      for (std::int64_t n = 0; n < N; ++n) {
        grad.B[row + n] = x.dB[n * kTile + t];
        grad.C[row + n] = x.dC[n * kTile + t];
      }
    }
  }
  store_states(dA, channels, N, width, grad.A + state_offset(s, task, task.span));
  if (float* to = state_at_exit(s, spans, task, grad.h0)) store_states(carry, channels, N, width, to);
  const std::int64_t sums = channel_offset(s, task, task.span);
  if (grad.D) std::copy(dD, dD + channels, grad.D + sums);
  if (grad.dt_bias) std::copy(dbias, dbias + channels, grad.dt_bias + sums);
}

void backward_tasks(const Shape& s, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
                    const Spans& spans, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = (s.block + kChunk - 1) / kChunk * kChunk;
  auto scratch = hwy::AllocateAligned<float>(backward_floats(s, width));
  for (std::int64_t i = begin; i < end; ++i)
    backward_task(s, in, states, grad, spans, make_task(s, spans, i), scratch.get());
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::scan
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::scan {

HWY_EXPORT(backward_tasks);

void backward(const Shape& shape, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
              const Spans& spans, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(shape, in, states, grad, spans, begin, end);
}

}  // namespace hymba::kernels::scan
#endif  // HWY_ONCE
