// One decoding step: vector over channels, the state moves up by one row in place. The taps are added in the order of
// cpu.cpp, so that steps equal one pass bit for bit.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/causal_conv1d/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/causal_conv1d/step.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::conv {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;

// Tap k of kLanes channels from `weight` on, `count` of which exist; rows of W taps.
HWY_INLINE FloatVec gather_tap(const float* weight, std::int64_t W, std::int64_t k, std::int64_t count) {
  HWY_ALIGN float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < std::min<std::int64_t>(count, kLanes); ++i) lanes[i] = weight[i * W + k];
  return hn::Load(kTag, lanes);
}

// The four taps of kLanes channels.
HWY_INLINE void load_taps(const float* weight, FloatVec (&tap)[4]) {
#if HWY_MAJOR == 0  // Ubuntu 22.04
  for (std::int64_t k = 0; k < 4; ++k) tap[k] = gather_tap(weight, 4, k, kLanes);
#else
  hn::LoadInterleaved4(kTag, weight, tap[0], tap[1], tap[2], tap[3]);
#endif
}

void run_steps(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
               std::int64_t end) {
  const std::int64_t W = s.taps, blocks = (s.channels + kStepBlock - 1) / kStepBlock;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / blocks, first = task % blocks * kStepBlock;
    const std::int64_t last = std::min(first + kStepBlock, s.channels);
    float* state = out.state + b * (W - 1) * s.channels;
    for (std::int64_t e = first; e < last; e += kLanes) {
      const std::int64_t count = last - e;
      const float* weight = in.weight + e * W;
      const FloatVec x = load_part(in.x.row(b, 0) + e, count);
      FloatVec sum = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
      if (W == 4 && count >= kLanes) {
        FloatVec tap[4];
        load_taps(weight, tap);
        const FloatVec s0 = hn::LoadU(kTag, state + e), s1 = hn::LoadU(kTag, state + s.channels + e);
        const FloatVec s2 = hn::LoadU(kTag, state + 2 * s.channels + e);
        sum = hn::MulAdd(s1, tap[1], hn::MulAdd(s0, tap[0], sum));
        sum = hn::MulAdd(x, tap[3], hn::MulAdd(s2, tap[2], sum));
        hn::StoreU(s1, kTag, state + e);
        hn::StoreU(s2, kTag, state + s.channels + e);
        hn::StoreU(x, kTag, state + 2 * s.channels + e);
      } else {
        for (std::int64_t k = 0; k + 1 < W; ++k) {
          float* row = state + k * s.channels + e;
          sum = hn::MulAdd(load_part(row, count), gather_tap(weight, W, k, count), sum);
          store_part(k + 2 < W ? load_part(row + s.channels, count) : x, row, count);
        }
        sum = hn::MulAdd(x, gather_tap(weight, W, W - 1, count), sum);
      }
      if (s.silu) sum = hn::Mul(sum, sigmoid(sum));
      store_part(sum, out.y.row(b, 0) + e, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::conv
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::conv {

HWY_EXPORT(run_steps);

void step(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
          std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_steps)(shape, in, out, begin, end);
}

}  // namespace hymba::kernels::conv
#endif  // HWY_ONCE
