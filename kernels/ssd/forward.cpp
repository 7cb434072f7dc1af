// The outputs of a chunk from the state before it and its pairs of steps (README.md, equation 5).
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/ssd/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/forward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/ssd/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::ssd_detail {
namespace HWY_NAMESPACE {

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

void outputs_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? outputs_range<2>(a, begin, end) : outputs_range<1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::ssd_detail {

HYMBA_DISPATCH_TASKS(outputs, outputs_tasks, Args<float>);

}  // namespace hymba::kernels::ssd_detail
#endif  // HWY_ONCE
