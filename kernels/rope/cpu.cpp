// Vector code, compiled once per instruction set: lanes run over the features of one half; four lanes, then single
// features take what is left of it. The work is one read of x and one write of the result.
#include "kernels/targets.h"
//
#include "kernels/rope/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::rope_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rotates features j, j + lanes, ... while whole vectors of D fit into the half; returns the first one left.
template <class D>
HWY_INLINE std::int64_t RotateVectors(D d, const float* x, const float* cos, const float* sin, std::int64_t half,
                                      std::int64_t j, bool inverse, float* out) {
  constexpr std::int64_t kLanes = hn::MaxLanes(D());
  const auto sign = hn::Set(d, inverse ? -1.0f : 1.0f);
  for (; j + kLanes <= half; j += kLanes) {
    const auto c = hn::LoadU(d, cos + j), s = hn::Mul(sign, hn::LoadU(d, sin + j));
    const auto low = hn::LoadU(d, x + j), high = hn::LoadU(d, x + j + half);
    hn::StoreU(hn::NegMulAdd(high, s, hn::Mul(low, c)), d, out + j);
    hn::StoreU(hn::MulAdd(low, s, hn::Mul(high, c)), d, out + j + half);
  }
  return j;
}

void Rotate(const Args<float>& a, const float* table, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = a.P / 2;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t b = row / a.L, l = row % a.L;
    const float *cos = table + l * a.P, *sin = cos + half;
    for (std::int64_t h = 0; h < a.H; ++h) {
      const float* x = a.x + b * a.sb + l * a.sl + h * a.sh;
      float* out = a.out + (row * a.H + h) * a.P;
      std::int64_t j = RotateVectors(hn::ScalableTag<float>(), x, cos, sin, half, 0, a.inverse, out);
      j = RotateVectors(hn::CappedTag<float, 4>(), x, cos, sin, half, j, a.inverse, out);
      RotateVectors(hn::CappedTag<float, 1>(), x, cos, sin, half, j, a.inverse, out);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::rope_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::rope_detail {

HWY_EXPORT(Rotate);

void cpu(const Args<float>& a, const float* table, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(Rotate)(a, table, begin, end);
}

}  // namespace hymba::kernels::rope_detail
#endif  // HWY_ONCE
