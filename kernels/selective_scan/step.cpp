// One decoding step. Lanes run over the states of a channel, as they lie in memory; the sums over the states of as many
// channels as a vector has lanes are added up at once. Tasks are blocks of channels of one sequence.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/selective_scan/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan/step.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::scan {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;

// States of one channel; returns its products with C, still to be summed over lanes.
template <bool kWhole>
HWY_INLINE FloatVec step_states(std::int64_t N, FloatVec dt, FloatVec w, const float* A, const float* B, const float* C,
                                const float* from, float* to) {
  const auto load = [](const float* p, std::int64_t count)
                        HWY_ATTR { return kWhole ? hn::LoadU(kTag, p) : load_part(p, count); };
  FloatVec sum = hn::Zero(kTag);
  for (std::int64_t n = 0; n < N; n += kLanes) {
    const std::int64_t left = N - n;
    const FloatVec before = from ? load(from + n, left) : hn::Zero(kTag);
    const FloatVec h = hn::MulAdd(exp2_product(dt, load(A + n, left)), before, hn::Mul(w, load(B + n, left)));
    sum = hn::MulAdd(h, load(C + n, left), sum);
    if (kWhole) {
      hn::StoreU(h, kTag, to + n);
    } else {
      store_part(h, to + n, left);
    }
  }
  return sum;
}

template <bool kWhole>
void step_block(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, std::int64_t b, std::int64_t group,
                std::int64_t first, std::int64_t last) {
  const std::int64_t N = s.states;
  const float *B = in.B.row(b, 0) + group * N, *C = in.C.row(b, 0) + group * N;
  HWY_ALIGN float dt_log2e[kLanes], w[kLanes], sums[kLanes * kLanes] = {};
  for (std::int64_t e = first; e < last; e += kLanes) {
    const std::int64_t count = std::min<std::int64_t>(kLanes, last - e);
    FloatVec dt = load_part(in.dt.row(b, 0) + e, count);
    if (in.dt_bias) dt = hn::Add(dt, load_part(in.dt_bias + e, count));
    if (s.softplus) dt = softplus(dt, nullptr);
    const FloatVec u = load_part(in.u.row(b, 0) + e, count);
    hn::Store(hn::Mul(dt, hn::Set(kTag, kLog2e)), kTag, dt_log2e);
    hn::Store(hn::Mul(dt, u), kTag, w);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = (b * s.channels + e + i) * N;
      hn::Store(step_states<kWhole>(N, hn::Set(kTag, dt_log2e[i]), hn::Set(kTag, w[i]), in.A + (e + i) * N, B, C,
                                    in.h0 ? in.h0 + at : nullptr, out.h + at),
                kTag, sums + i * kLanes);
    }
    FloatVec y = sum_rows(sums);
    if (in.D) y = hn::MulAdd(load_part(in.D + e, count), u, y);
    if (in.z.data) {
      const FloatVec z = load_part(in.z.row(b, 0) + e, count);
      y = hn::Mul(y, hn::Mul(z, sigmoid(z)));
    }
    store_part(y, out.y.row(b, 0) + e, count);
  }
}

void run_steps(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
               std::int64_t end) {
  const std::int64_t channels = s.group_channels(), blocks = (channels + kStepBlock - 1) / kStepBlock;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t group = task / blocks % s.groups, b = task / blocks / s.groups;
    const std::int64_t first = group * channels + task % blocks * kStepBlock;
    const std::int64_t last = std::min(first + kStepBlock, (group + 1) * channels);
    s.states % kLanes == 0 ? step_block<true>(s, in, out, b, group, first, last)
                           : step_block<false>(s, in, out, b, group, first, last);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::scan
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::scan {

HWY_EXPORT(run_steps);

void step(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
          std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(run_steps)(shape, in, out, begin, end);
}

}  // namespace hymba::kernels::scan
#endif  // HWY_ONCE
