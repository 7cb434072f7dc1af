// What the spans of time between the first and the last lead to from a state of zero (kernel.h, Spans), in the tasks,
// tiles and chunks of forward.cpp; and the states at entry that follow.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>

#include "kernels/selective_scan/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/spans.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/selective_scan/tasks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::scan {
namespace HWY_NAMESPACE {

constexpr int kStates = kLanes >= 16 ? 4 : 2;  // in registers at once

// One vector of channels through K states of a tile. Forward: h <- a h + x R with x = dt u, R = B; backward, from the
// last step on: G <- a (G + x R) with x the gradient of y before the gate, R = C. dt and x: scratch tiles.
template <int K, bool kBackward>
HWY_INLINE void walk(const float* HWY_RESTRICT dt, const float* HWY_RESTRICT x, const float* HWY_RESTRICT R,
                     std::int64_t R_stride, const float* HWY_RESTRICT A2, float* HWY_RESTRICT h, std::int64_t width,
                     std::int64_t steps) {
  FloatVec state[K], decay[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    state[k] = hn::Load(kTag, h + k * width);
    decay[k] = hn::Load(kTag, A2 + k * width);
  }
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t t = kBackward ? steps - 1 - i : i;
    const FloatVec step = hn::Load(kTag, dt + t * kChunk), input = hn::Load(kTag, x + t * kChunk);
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) {
      const FloatVec a = exp2_product(step, decay[k]), r = hn::Set(kTag, R[t * R_stride + k]);
      state[k] = kBackward ? hn::Mul(a, hn::MulAdd(input, r, state[k])) : hn::MulAdd(a, state[k], hn::Mul(input, r));
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) hn::Store(state[k], kTag, h + k * width);
}

// dt and x of one vector of channels over a tile, from step t0 on; returns the sum of dt.
template <bool kBackward>
HWY_INLINE FloatVec load_tile(const Shape& s, const Inputs<float>& in, const Rows<const float>& dy, std::int64_t b,
                              std::int64_t t0, std::int64_t steps, std::int64_t e, std::int64_t count, float* dt,
                              float* x) {
  const Column u(in.u, b, t0, e, count), dt_in(in.dt, b, t0, e, count), z(in.z, b, t0, e, count), gy(dy, b, t0, e, count);
  const FloatVec bias = load_channel(in.dt_bias, e, count);
  FloatVec sum = hn::Zero(kTag);
  for (std::int64_t t = 0; t < steps; ++t) {
    FloatVec step = hn::Add(dt_in.load(t), bias), input;
    if (s.softplus) step = softplus(step, nullptr);
    if constexpr (kBackward) {
      input = gy.load(t);
      if (z.data) {
        const FloatVec gate = z.load(t);
        input = hn::Mul(input, hn::Mul(gate, sigmoid(gate)));
      }
    } else {
      input = hn::Mul(step, u.load(t));
    }
    hn::Store(step, kTag, dt + t * kChunk);
    hn::Store(input, kTag, x + t * kChunk);
    sum = hn::Add(sum, step);
  }
  return sum;
}

template <bool kBackward>
void sum_up_task(const Shape& s, const Inputs<float>& in, const Rows<const float>& dy, const Spans& spans,
                 const Task& task, float* scratch) {
  const std::int64_t N = s.states, width = task.width, channels = task.last - task.first;
  const Rows<const float>& R = kBackward ? in.C : in.B;
  float *dt = scratch, *x = dt + kTileFloats, *A2 = x + kTileFloats, *h = A2 + N * width, *sums = h + N * width;
  load_states(in.A + task.first * N, channels, N, width, kLog2e, A2);
  std::fill(h, h + N * width, 0.0f);
  std::fill(sums, sums + width, 0.0f);
  for (std::int64_t i = task.begin; i < task.end; ++i) {
    const std::int64_t t0 = (kBackward ? s.tiles() - 1 - i : i) * kTile, steps = std::min(kTile, s.length - t0);
    const float* rows = R.row(task.b, t0) + task.group * N;
    for (std::int64_t v = 0; v < channels; v += kLanes) {
      const FloatVec sum = load_tile<kBackward>(s, in, dy, task.b, t0, steps, task.first + v, channels - v, dt, x);
      hn::Store(hn::Add(hn::Load(kTag, sums + v), sum), kTag, sums + v);
      std::int64_t n = 0;
      for (; n + kStates <= N; n += kStates) {
        walk<kStates, kBackward>(dt, x, rows + n, R.row_stride, A2 + n * width + v, h + n * width + v, width, steps);
      }
      for (; n < N; ++n) {
        walk<1, kBackward>(dt, x, rows + n, R.row_stride, A2 + n * width + v, h + n * width + v, width, steps);
      }
    }
  }
  store_states(h, channels, N, width, spans.states + state_offset(s, task, task.span + 1));
  std::copy(sums, sums + channels, spans.steps + channel_offset(s, task, task.span));
}

void sum_up_tasks(const Shape& s, const Inputs<float>& in, const Rows<const float>& dy, const Spans& spans,
                  std::int64_t begin, std::int64_t end) {
  const std::int64_t width = (s.block + kChunk - 1) / kChunk * kChunk;
  auto scratch = hwy::AllocateAligned<float>(2 * kTileFloats + (2 * s.states + 1) * width);
  for (std::int64_t i = begin; i < end; ++i) {
    const Task task = make_task(s, spans, i);
    dy.data ? sum_up_task<true>(s, in, dy, spans, task, scratch.get())
            : sum_up_task<false>(s, in, dy, spans, task, scratch.get());
  }
}

// Lanes run over the states of a channel.
void carry_tasks(const Shape& s, const float* A, const Spans& spans, std::int64_t begin, std::int64_t end) {
  const std::int64_t N = s.states, span_size = s.batch * s.channels;
  for (std::int64_t row = begin * s.channels; row < end * s.channels; ++row) {
    const float* decay = A + row % s.channels * N;
    for (std::int64_t i = 1; i + 1 < spans.count; ++i) {
      const float* from = spans.states + (i * span_size + row) * N;
      float* to = spans.states + ((i + 1) * span_size + row) * N;
      const FloatVec step = hn::Set(kTag, spans.steps[i * span_size + row] * kLog2e);
      for (std::int64_t n = 0; n < N; n += kLanes) {
        const FloatVec a = exp2_product(step, load_part(decay + n, N - n));
        store_part(hn::MulAdd(a, load_part(from + n, N - n), load_part(to + n, N - n)), to + n, N - n);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::scan
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::scan {

HWY_EXPORT(sum_up_tasks);
HWY_EXPORT(carry_tasks);

void sum_up(const Shape& shape, const Inputs<float>& in, const Rows<const float>& dy, const Spans& spans,
            std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(sum_up_tasks)(shape, in, dy, spans, begin, end);
}

void carry(const Shape& shape, const float* A, const Spans& spans, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(carry_tasks)(shape, A, spans, begin, end);
}

}  // namespace hymba::kernels::scan
#endif  // HWY_ONCE
