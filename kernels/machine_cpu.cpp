// The loops whose speed is the machine's limit, on the instruction set in use.
#include "kernels/targets.h"
//
#include "kernels/machine.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine_cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;

// Twelve chains hide a latency of 4 to 6 cycles on two units.
void fma_rounds(std::int64_t rounds, float* sink) {
  FloatVec sum[12];
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) sum[i] = hn::Set(kTag, static_cast<float>(i));
  const FloatVec a = hn::Set(kTag, sink[0]), b = hn::Set(kTag, sink[1]);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum[i] = hn::MulAdd(sum[i], a, b);
  }
#pragma GCC unroll 12
  for (int i = 1; i < 12; ++i) sum[0] = hn::Add(sum[0], sum[i]);
  sink[2] = hn::GetLane(sum[0]);
}

void exp_rounds(std::int64_t rounds, float* data) {
  const FloatVec scale = hn::Set(kTag, -0.999f);
  for (std::int64_t r = 0; r < rounds; ++r) {
    for (std::int64_t i = 0; i < kExpFloats; i += 4 * kLanes) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        float* p = data + i + k * kLanes;
        hn::Store(exp2_product(hn::Load(kTag, p), scale), kTag, p);
      }
    }
  }
}

float read_sum(const float* data, std::int64_t count) {
  FloatVec sum[4] = {hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag)};
  for (std::int64_t i = 0; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[k] = hn::Add(sum[k], hn::LoadU(kTag, data + i + k * kLanes));
  }
  return hn::GetLane(hn::SumOfLanes(kTag, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
}

void triad(float* a, const float* b, const float* c, std::int64_t count) {
  const FloatVec s = hn::Set(kTag, 0.5f);
  for (std::int64_t i = 0; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::MulAdd(s, hn::LoadU(kTag, c + i), hn::LoadU(kTag, b + i)), kTag, a + i);
  }
}

std::int64_t lanes() { return kLanes; }

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::bench {

HWY_EXPORT(fma_rounds);
HWY_EXPORT(exp_rounds);
HWY_EXPORT(read_sum);
HWY_EXPORT(triad);
HWY_EXPORT(lanes);

void fma_loop(std::int64_t rounds, float* sink) { HWY_DYNAMIC_DISPATCH(fma_rounds)(rounds, sink); }
void exp_loop(std::int64_t rounds, float* data) { HWY_DYNAMIC_DISPATCH(exp_rounds)(rounds, data); }
float read_loop(const float* data, std::int64_t count) { return HWY_DYNAMIC_DISPATCH(read_sum)(data, count); }
void triad_loop(float* a, const float* b, const float* c, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(triad)(a, b, c, count);
}
std::int64_t float_lanes() { return HWY_DYNAMIC_DISPATCH(lanes)(); }

}  // namespace hymba::kernels::bench
#endif  // HWY_ONCE
