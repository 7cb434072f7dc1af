// Vector over channels; a task is one span of one sequence and one block of channels, walked in tiles of kTile steps
// and chunks of kChunk channels, so that what a chunk needs stays in the L1 cache. Rows of scratch tiles are kChunk
// floats wide; channels behind the last one are computed as zeros and never stored.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <type_traits>

#include "kernels/selective_scan/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/forward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/selective_scan/tasks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::scan {
namespace HWY_NAMESPACE {

// Steps of one vector of channels through K states at once, kept in registers. dt, w (= dt * u), y: scratch tiles;
// B and C: the first of the K columns; A2 (= A * log2(e)) and h: rows of `width` floats, a row a state.
template <int K>
HWY_INLINE void recurrence(const float* HWY_RESTRICT dt, const float* HWY_RESTRICT w, float* HWY_RESTRICT y,
                           const float* HWY_RESTRICT B, std::int64_t B_stride, const float* HWY_RESTRICT C,
                           std::int64_t C_stride, const float* HWY_RESTRICT A2, float* HWY_RESTRICT h,
                           std::int64_t width, std::int64_t steps, const Ahead& ahead, int first, int last) {
  FloatVec state[K], decay[K];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    state[k] = hn::Load(kTag, h + k * width);
    decay[k] = hn::Load(kTag, A2 + k * width);
  }
  for (std::int64_t t = 0; t < steps; ++t) {
    const FloatVec step = hn::Load(kTag, dt + t * kChunk), input = hn::Load(kTag, w + t * kChunk);
    FloatVec sum = hn::Load(kTag, y + t * kChunk);
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) {
      const FloatVec in = hn::Mul(input, hn::Set(kTag, B[t * B_stride + k]));
      state[k] = hn::MulAdd(exp2_product(step, decay[k]), state[k], in);
      sum = hn::MulAdd(state[k], hn::Set(kTag, C[t * C_stride + k]), sum);
    }
    hn::Store(sum, kTag, y + t * kChunk);
    ahead.fetch(first, last, t);
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) hn::Store(state[k], kTag, h + k * width);
}

void forward_task(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, const Spans& spans,
                  const Task& task, const Task* next, float* scratch) {
  const std::int64_t N = s.states, width = task.width, B_stride = in.B.row_stride, C_stride = in.C.row_stride;
  float* dt = scratch;
  float* w = dt + kTileFloats;
  float* y = w + kTileFloats;
  float* A2 = y + kTileFloats;
  float* h = A2 + N * width;
  const std::int64_t channels = task.last - task.first;
  load_states(in.A + task.first * N, channels, N, width, kLog2e, A2);
  load_states(state_at_entry(s, spans, task, in.h0), channels, N, width, 1.0f, h);

  for (std::int64_t tile = task.begin; tile < task.end; ++tile) {
    const std::int64_t t0 = tile * kTile, steps = std::min(kTile, s.length - t0);
    if (out.states) {
      float* kept = out.states + (task.b * s.tiles() + tile) * N * s.channels + task.first;
      for (std::int64_t n = 0; n < N; ++n) std::copy(h + n * width, h + n * width + channels, kept + n * s.channels);
    }
    const float* B = in.B.row(task.b, t0) + task.group * N;
    const float* C = in.C.row(task.b, t0) + task.group * N;
    for (std::int64_t e0 = task.first; e0 < task.last; e0 += kChunk) {
      const std::int64_t chunk = std::min(kChunk, task.last - e0);
      Ahead ahead = next_chunk<false>(s, task, next, tile, e0);
      ahead.add(in.u), ahead.add(in.dt), ahead.add(in.z), ahead.add(out.y), ahead.add(out.ungated);
      constexpr int kStates = kManyRegisters ? 4 : 2;
      const std::int64_t calls = (chunk + kLanes - 1) / kLanes * (N / kStates + N % kStates);
      std::int64_t call = 0;
      for (std::int64_t v = 0; v < chunk; v += kLanes) {
        const std::int64_t e = e0 + v, count = chunk - v;
        const Column u(in.u, task.b, t0, e, count), dt_in(in.dt, task.b, t0, e, count), z(in.z, task.b, t0, e, count);
        const Column out_y(out.y, task.b, t0, e, count), ungated(out.ungated, task.b, t0, e, count);
        load_steps<false>(s, in, dt_in, u, e, steps, dt + v, w + v, y + v);
        float* h_v = h + (e0 - task.first) + v;
        float* A2_v = A2 + (e0 - task.first) + v;
        for (std::int64_t n = 0; n < N; ++call) {
          int first, last;
          ahead.share(call, calls, &first, &last);
          const auto walk = [&](auto states) HWY_ATTR {
            recurrence<states>(dt + v, w + v, y + v, B + n, B_stride, C + n, C_stride, A2_v + n * width,
                               h_v + n * width, width, steps, ahead, first, last);
            n += states;
          };
          if (n + kStates <= N) {
            walk(std::integral_constant<int, kStates>());
          } else {
            walk(std::integral_constant<int, 1>());
          }
        }
        for (std::int64_t t = 0; t < steps; ++t) {
          FloatVec sum = hn::Load(kTag, y + t * kChunk + v);
          if (ungated.data) ungated.store(sum, t);
          if (z.data) {
            const FloatVec gate = z.load(t);
            sum = hn::Mul(sum, hn::Mul(gate, sigmoid(gate)));
          }
          out_y.store(sum, t);
        }
      }
    }
  }
  if (float* to = state_at_exit(s, spans, task, out.h)) store_states(h, channels, N, width, to);
}

void forward_tasks(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, const Spans& spans,
                   std::int64_t begin, std::int64_t end) {
  const std::int64_t width = (s.block + kChunk - 1) / kChunk * kChunk;
  auto scratch = hwy::AllocateAligned<float>(3 * kTileFloats + 2 * s.states * width);
  for_each_task(s, spans, begin, end, [&](const Task& task, const Task* next) HWY_ATTR {
    forward_task(s, in, out, spans, task, next, scratch.get());
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::scan
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::scan {

HWY_EXPORT(forward_tasks);

void forward(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, const Spans& spans,
             std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_tasks)(shape, in, out, spans, begin, end);
}

}  // namespace hymba::kernels::scan
#endif  // HWY_ONCE
