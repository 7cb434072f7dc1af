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

constexpr int kStates = kManyRegisters ? 2 : 1;  // that are walked at once: more share the loads and stores of what is per channel
// A step of the walk back has 2 kStates sums over channels. Their lanes are folded into blocks at once, so that kFolds vectors hold them.
constexpr std::int64_t kFolds = (2 * kStates + kBlocks - 1) / kBlocks;
constexpr std::int64_t kGroupSums = kTile / 4 * kFolds * kLanes;  // floats for the sums of kStates states over a tile

// Scratch tiles of a chunk in the backward pass, [kTile, kChunk] each (h: [kTile + 1, kChunk]).
struct BackwardTiles {
  float *dt, *w, *slope;  // dt, dt * u, d dt / d (dt before softplus)
  float* gy;              // gradient of y before the gate
  float *dw, *dp;         // gradients of w and, over A2, of dt * A2 (times log2(e))
  float *a, *h;           // decays and values of kStates states, one behind the other
  float* products;        // [kFolds, kTile, kLanes]: a step's products for the gradients of B and C, a block of lanes a sum
  float* sums;            // [groups of kStates states, kTile / 4, kFolds, kLanes]: their sums over the task's channels

  float* a_of(int k) const { return a + k * kTileFloats; }
  float* h_of(int k) const { return h + k * (kTileFloats + kChunk); }
  // Of state n at step t: the gradient of B (row = 0) or C (row = kStates).
  float sum_of(std::int64_t n, std::int64_t t, int row) const {
    const std::int64_t r = row + n % kStates;
    return sums[n / kStates * kGroupSums + (t / 4 * kFolds + r / kBlocks) * kLanes + r % kBlocks * 4 + t % 4];
  }
};

// Recomputes K states over a tile for two vectors of channels. A2: rows of `width` floats, a row a state.
template <int K>
HWY_INLINE void recompute(const BackwardTiles& s, std::int64_t v, const float* HWY_RESTRICT B, std::int64_t B_stride,
                          const float* HWY_RESTRICT A2, std::int64_t width, std::int64_t steps, const Ahead& ahead, int first, int last) {
  FloatVec h[K][2], A[K][2];
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      h[k][j] = hn::Load(kTag, s.h_of(k) + v + j * kLanes);
      A[k][j] = hn::Load(kTag, A2 + k * width + j * kLanes);
    }
  }
  for (std::int64_t t = 0; t < steps; ++t) {
    FloatVec b[K];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) b[k] = hn::Set(kTag, B[t * B_stride + k]);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const std::int64_t i = t * kChunk + v + j * kLanes;
      const FloatVec step = hn::Load(kTag, s.dt + i), input = hn::Load(kTag, s.w + i);
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        const FloatVec a = exp2_product(step, A[k][j]);
        h[k][j] = hn::MulAdd(a, h[k][j], hn::Mul(input, b[k]));
        hn::Store(a, kTag, s.a_of(k) + i);
        hn::Store(h[k][j], kTag, s.h_of(k) + i + kChunk);
      }
    }
    ahead.fetch(first, last, t);
  }
}

// Walks K states back over a tile for two vectors of channels. `carry` is the gradient of the states before the tile's
// end (in) and before its start (out); dA collects the gradient of A.
template <int K>
HWY_INLINE void walk_back(const BackwardTiles& s, std::int64_t v, const float* HWY_RESTRICT B, std::int64_t B_stride,
                          const float* HWY_RESTRICT C, std::int64_t C_stride, const float* HWY_RESTRICT A2,
                          float* HWY_RESTRICT carry, float* HWY_RESTRICT dA, std::int64_t width, bool first, std::int64_t steps) {
  FloatVec g_next[K][2], dA_sum[K][2], A[K][2], h[K][2];
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const std::int64_t at = k * width + j * kLanes;
      g_next[k][j] = hn::Load(kTag, carry + at);
      dA_sum[k][j] = hn::Load(kTag, dA + at);
      A[k][j] = hn::Load(kTag, A2 + at);
      h[k][j] = hn::Load(kTag, s.h_of(k) + steps * kChunk + v + j * kLanes);
    }
  }
  for (std::int64_t t = steps - 1; t >= 0; --t) {
    FloatVec b[K], c[K], products[kFolds][kBlocks];
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) b[k] = hn::Set(kTag, B[t * B_stride + k]), c[k] = hn::Set(kTag, C[t * C_stride + k]);
#pragma GCC unroll 4
    for (int r = 0; r < kFolds * kBlocks; ++r) products[r / kBlocks][r % kBlocks] = hn::Zero(kTag);
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const std::int64_t i = t * kChunk + v + j * kLanes;
      const FloatVec gy = hn::Load(kTag, s.gy + i), input = hn::Load(kTag, s.w + i), step = hn::Load(kTag, s.dt + i);
      FloatVec dw = hn::Load(kTag, s.dw + i), dp = hn::Load(kTag, s.dp + i);
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) {
        const FloatVec g = hn::MulAdd(gy, c[k], g_next[k][j]);
        FloatVec& pB = products[k / kBlocks][k % kBlocks];
        FloatVec& pC = products[(kStates + k) / kBlocks][(kStates + k) % kBlocks];
        pC = hn::MulAdd(gy, h[k][j], pC);
        pB = hn::MulAdd(g, input, pB);
        dw = hn::MulAdd(g, b[k], dw);
        g_next[k][j] = hn::Mul(g, hn::Load(kTag, s.a_of(k) + i));
        h[k][j] = hn::Load(kTag, s.h_of(k) + i);
        const FloatVec d = hn::Mul(g_next[k][j], h[k][j]);  // gradient of dt * A
        dp = hn::MulAdd(d, A[k][j], dp);
        dA_sum[k][j] = hn::MulAdd(d, step, dA_sum[k][j]);
      }
      hn::Store(dw, kTag, s.dw + i);
      hn::Store(dp, kTag, s.dp + i);
    }
#pragma GCC unroll 2
    for (std::int64_t i = 0; i < kFolds; ++i) {
      float* to = s.products + (i * kTile + t) * kLanes;
      const FloatVec folded = fold_blocks(products[i]);
      hn::Store(first ? folded : hn::Add(folded, hn::Load(kTag, to)), kTag, to);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < K; ++k) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      hn::Store(g_next[k][j], kTag, carry + k * width + j * kLanes);
      hn::Store(dA_sum[k][j], kTag, dA + k * width + j * kLanes);
    }
  }
}

// Fills dt, w, slope and gy, clears dw and dp, and writes the gradient of z over y before the gate.
HWY_INLINE void begin_chunk(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad,
                            const BackwardTiles& x, std::int64_t b, std::int64_t t0, std::int64_t steps,
                            std::int64_t e0, std::int64_t chunk) {
  const FloatVec zero = hn::Zero(kTag), one = hn::Set(kTag, 1.0f);
  for (std::int64_t v = 0; v < kChunk; v += kLanes) {
    const std::int64_t e = e0 + v, count = std::max<std::int64_t>(chunk - v, 0);
    if (count == 0 && v % (2 * kLanes) == 0) break;  // the states are walked two vectors at a time
    const Column u(in.u, b, t0, e, count), dt(in.dt, b, t0, e, count), z(in.z, b, t0, e, count);
    const Column dy(grad.y, b, t0, e, count);
    const Column dz(grad.z, b, t0, e, count);
    load_steps<true>(s, in, dt, u, e, steps, x.dt + v, x.w + v, x.slope + v);
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t i = t * kChunk + v;
      FloatVec gy = dy.load(t);
      if (z.data) {
        const FloatVec gate = z.load(t), sig = sigmoid(gate);
        const FloatVec derivative = hn::Mul(sig, hn::MulAdd(gate, hn::Sub(one, sig), one));
        dz.store(hn::Mul(hn::Mul(gy, dz.load(t)), derivative), t);
        gy = hn::Mul(gy, hn::Mul(gate, sig));
      }
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
    const Column u_in(in.u, b, t0, e, count);
    const Column du_out(grad.u, b, t0, e, count), ddt_out(grad.dt, b, t0, e, count);
    FloatVec sum_D = hn::Load(kTag, dD + v), sum_bias = hn::Load(kTag, dbias + v);
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t i = t * kChunk + v;
      // Every load of the step before its stores: rows of different tensors often share their low address bits.
      const FloatVec u = u_in.load(t), gy = hn::Load(kTag, x.gy + i), dw = hn::Load(kTag, x.dw + i);
      FloatVec ddt = hn::MulAdd(dw, u, hn::Mul(hn::Load(kTag, x.dp + i), ln2));
      ddt = hn::Mul(ddt, hn::Load(kTag, x.slope + i));
      const FloatVec du = hn::MulAdd(dw, hn::Load(kTag, x.dt + i), hn::Mul(skip, gy));
      ddt_out.store(ddt, t);
      du_out.store(du, t);
      sum_D = hn::MulAdd(gy, u, sum_D);
      sum_bias = hn::Add(sum_bias, ddt);
    }
    hn::Store(sum_D, kTag, dD + v);
    hn::Store(sum_bias, kTag, dbias + v);
  }
}

std::int64_t sum_floats(std::int64_t states) { return (states + kStates - 1) / kStates * kGroupSums; }

std::int64_t backward_floats(const Shape& s, std::int64_t width) {
  return 6 * kTileFloats + kStates * (2 * kTileFloats + kChunk) + kTile * kFolds * kLanes + sum_floats(s.states) +
         4 * s.states * width + 2 * width;
}

void backward_task(const Shape& s, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
                   const Spans& spans, const Task& task, const Task* next, float* scratch) {
  const std::int64_t N = s.states, width = task.width, B_stride = in.B.row_stride, C_stride = in.C.row_stride;
  const std::int64_t channels = task.last - task.first;
  const auto take = [&scratch](std::int64_t floats) {
    float* p = scratch;
    scratch += floats;
    return p;
  };
  BackwardTiles x;
  for (float** tile : {&x.dt, &x.w, &x.slope, &x.gy, &x.dw, &x.dp}) *tile = take(kTileFloats);
  x.a = take(kStates * kTileFloats), x.h = take(kStates * (kTileFloats + kChunk));
  x.products = take(kTile * kFolds * kLanes), x.sums = take(sum_floats(N));
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
  std::fill(x.products, x.products + kTile * kFolds * kLanes, 0.0f);

  for (std::int64_t i = task.begin; i < task.end; ++i) {
    const std::int64_t tile = s.tiles() - 1 - i;
    const std::int64_t t0 = tile * kTile, steps = std::min(kTile, s.length - t0);
    const float* entry = states + (task.b * s.tiles() + tile) * N * s.channels + task.first;
    for (std::int64_t n = 0; n < N; ++n)
      std::copy(entry + n * s.channels, entry + n * s.channels + channels, start + n * width);
    const float* B = in.B.row(task.b, t0) + task.group * N;
    const float* C = in.C.row(task.b, t0) + task.group * N;
    std::fill(x.sums, x.sums + sum_floats(N), 0.0f);
    for (std::int64_t e0 = task.first; e0 < task.last; e0 += kChunk) {
      const std::int64_t chunk = std::min(kChunk, task.last - e0), offset = e0 - task.first;
      Ahead ahead = next_chunk<true>(s, task, next, i, e0);
      ahead.add(in.u), ahead.add(in.dt), ahead.add(in.z), ahead.add(grad.y);
      ahead.add(grad.u), ahead.add(grad.dt), ahead.add(grad.z);
      const std::int64_t pairs = (chunk + 2 * kLanes - 1) / (2 * kLanes);
      begin_chunk(s, in, grad, x, task.b, t0, steps, e0, chunk);
      const std::int64_t calls = pairs * (N / kStates + N % kStates);
      std::int64_t call = 0;
      const auto walk = [&](auto states, std::int64_t n) HWY_ATTR {
        for (std::int64_t v = 0; v < chunk; v += 2 * kLanes, ++call) {
          const std::int64_t at = n * width + offset + v;
          for (int k = 0; k < states; ++k) {
            hn::Store(hn::Load(kTag, start + at + k * width), kTag, x.h_of(k) + v);
            hn::Store(hn::Load(kTag, start + at + k * width + kLanes), kTag, x.h_of(k) + v + kLanes);
          }
          int first, last;
          ahead.share(call, calls, &first, &last);
          recompute<states>(x, v, B + n, B_stride, A2 + at, width, steps, ahead, first, last);
          walk_back<states>(x, v, B + n, B_stride, C + n, C_stride, A2 + at, carry + at, dA + at, width, v == 0, steps);
        }
        float* sums = x.sums + n / kStates * kGroupSums;
        for (std::int64_t t = 0; t < steps; t += 4) {
          for (std::int64_t i = 0; i < kFolds; ++i, sums += kLanes) {
            const FloatVec sum = sum_blocks(x.products + (i * kTile + t) * kLanes);
            hn::Store(hn::Add(hn::Load(kTag, sums), sum), kTag, sums);
          }
        }
      };
      std::int64_t n = 0;
      for (; n + kStates <= N; n += kStates) walk(std::integral_constant<int, kStates>(), n);
      for (; n < N; ++n) walk(std::integral_constant<int, 1>(), n);
      end_chunk(s, in, grad, x, task.b, t0, steps, e0, chunk, dD + offset, dbias + offset);
    }
    for (std::int64_t t = 0; t < steps; ++t) {
      const std::int64_t row = (((task.block * s.batch + task.b) * s.length + t0 + t) * s.groups + task.group) * N;
      for (std::int64_t n = 0; n < N; ++n) {
        grad.B[row + n] = x.sum_of(n, t, 0);
        grad.C[row + n] = x.sum_of(n, t, kStates);
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
  for_each_task(s, spans, begin, end, [&](const Task& task, const Task* next) HWY_ATTR {
    backward_task(s, in, states, grad, spans, task, next, scratch.get());
  });
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
