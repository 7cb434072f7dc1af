// Vector math shared by the cpu.cpp files, compiled once per instruction set (include after Highway, like its own
// -inl.h headers). Every function keeps NaN; errors are the largest found over all floats of the stated range.
#if defined(HYMBA_KERNELS_VECTOR_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_VECTOR_MATH_INL_H
#undef HYMBA_KERNELS_VECTOR_MATH_INL_H
#else
#define HYMBA_KERNELS_VECTOR_MATH_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
constexpr std::int64_t kLanes = hn::MaxLanes(FloatTag());

constexpr float kLog2e = 1.44269504088896341f;
constexpr float kLog2eLow = 1.925963033500e-8f;  // log2(e) - kLog2e
constexpr float kLn2 = 0.693147180559945309f;

// The first `count` floats (>= kLanes: a whole vector), zeros behind them; never touches memory behind them.
HWY_INLINE FloatVec load_part(const float* p, std::int64_t count) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(d, p);
  HWY_ALIGN float lanes[kLanes] = {};
  if (count > 0) std::memcpy(lanes, p, sizeof(float) * static_cast<std::size_t>(count));
  return hn::Load(d, lanes);
}

HWY_INLINE void store_part(FloatVec v, float* p, std::int64_t count) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) {
    hn::StoreU(v, d, p);
    return;
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, d, lanes);
  if (count > 0) std::memcpy(p, lanes, sizeof(float) * static_cast<std::size_t>(count));
}

// m * 2^n for a whole number n in [-126, 127]. `shifted` is n + 1.5 * 2^23: its low bits are n.
HWY_INLINE FloatVec scale_by_power(FloatVec m, FloatVec n, FloatVec shifted) {
#if HWY_TARGET == HWY_AVX3
  (void)shifted;
  return FloatVec{_mm512_scalef_ps(m.raw, n.raw)};
#else
  (void)n;
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  return hn::BitCast(d, hn::Add(hn::BitCast(di, m), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
#endif
}

// 2^f - 1 over f for |f| <= 0.5: minimax, with 2^0 = 1 exactly. Degree 5: relative error 1.1e-7; 6: 1.6e-8.
template <int kDegree>
HWY_INLINE FloatVec exp2_fraction(FloatVec f) {
  const FloatTag d;
  FloatVec p;
  if constexpr (kDegree == 5) {
    p = hn::MulAdd(hn::Set(d, 0.001326472731307149f), f, hn::Set(d, 0.009671512991189957f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.05550733581185341f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.24022242426872253f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.6931470036506653f));
  } else {
    p = hn::MulAdd(hn::Set(d, 0.00015353361959569156f), f, hn::Set(d, 0.0013398875016719103f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.00961843691766262f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.055503323674201965f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.24022647738456726f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.6931471824645996f));
  }
  return p;
}

// 2^(x * y). The product is clamped to [-126, 127.9]: instead of 0 the result is 1.2e-38, instead of infinity 3e38.
// Relative error 2e-7 + 6e-8 |x * y|: the second term is the rounding of the product, as in exp(x * y).
HWY_INLINE FloatVec exp2_product(FloatVec x, FloatVec y) {
  const FloatTag d;
  const FloatVec shift = hn::Set(d, 12582912.0f);
#if HWY_TARGET == HWY_AVX3
  // scalef saturates by itself (to 0 and infinity), and the product is never rounded on its own.
  const FloatVec shifted = hn::MulAdd(x, y, shift);
  const FloatVec n = hn::Sub(shifted, shift);
  const FloatVec f = hn::MulSub(x, y, n);
#else
  // Min and Max return their second argument if one is NaN.
  const FloatVec p = hn::Min(hn::Set(d, 127.9f), hn::Max(hn::Set(d, -126.0f), hn::Mul(x, y)));
  const FloatVec shifted = hn::Add(p, shift);
  const FloatVec n = hn::Sub(shifted, shift);
  const FloatVec f = hn::Sub(p, n);
#endif
  return scale_by_power(hn::MulAdd(exp2_fraction<5>(f), f, hn::Set(d, 1.0f)), n, shifted);
}

// exp(x) for any x, clamped to [1.2e-38, 3e38]; relative error 1.5e-7.
HWY_INLINE FloatVec exp_accurate(FloatVec x) {
  const FloatTag d;
  const FloatVec shift = hn::Set(d, 12582912.0f);
  const FloatVec c = hn::Min(hn::Set(d, 88.3f), hn::Max(hn::Set(d, -87.3f), x));
  const FloatVec shifted = hn::MulAdd(c, hn::Set(d, kLog2e), shift);
  const FloatVec n = hn::Sub(shifted, shift);
  FloatVec f = hn::MulSub(c, hn::Set(d, kLog2e), n);
  f = hn::MulAdd(c, hn::Set(d, kLog2eLow), f);
  return scale_by_power(hn::MulAdd(exp2_fraction<6>(f), f, hn::Set(d, 1.0f)), n, shifted);
}

// 1 / x for 1 <= x <= 3e38; relative error 1.2e-7. A 512-bit division takes 16 cycles, an estimate and a step five.
HWY_INLINE FloatVec reciprocal(FloatVec x) {
  const FloatTag d;
#if HWY_TARGET == HWY_AVX3
  const FloatVec r = hn::ApproximateReciprocal(x);  // error 2^-14, which the Newton step squares
  return hn::MulAdd(r, hn::NegMulAdd(x, r, hn::Set(d, 1.0f)), r);
#else
  return hn::Div(hn::Set(d, 1.0f), x);
#endif
}

// 1 / (1 + exp(-x)); relative error 3e-7.
HWY_INLINE FloatVec sigmoid(FloatVec x) {
  return reciprocal(hn::Add(hn::Set(FloatTag(), 1.0f), exp_accurate(hn::Neg(x))));
}

// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) and its derivative, the sigmoid; relative error 4e-7 for both.
// log1p(w) = 2 atanh(w / (2 + w)), an odd series: small results keep their digits.
HWY_INLINE FloatVec softplus(FloatVec x, FloatVec* derivative) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  const FloatVec w = exp_accurate(hn::Neg(hn::Abs(x)));
  const FloatVec s = hn::Mul(w, reciprocal(hn::Add(hn::Set(d, 2.0f), w)));
  const FloatVec q = hn::Mul(s, s);
  FloatVec p = hn::MulAdd(hn::Set(d, 0.24289561808109283f), q, hn::Set(d, 0.21430739760398865f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.2861659824848175f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.39998888969421387f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.6666667461395264f));
  const FloatVec log1p = hn::MulAdd(hn::Mul(s, q), p, hn::Add(s, s));
  if (derivative) {
    const FloatVec top = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), w, one);
    *derivative = hn::Mul(top, reciprocal(hn::Add(one, w)));
  }
  return hn::Add(hn::Max(hn::Zero(d), x), log1p);
}

// Sums of the lanes of each of kLanes consecutive vectors at `rows`: lane i of the result is the sum of vector i.
HWY_INLINE FloatVec sum_rows(const float* HWY_RESTRICT rows) {
  const FloatTag d;
  const hn::Repartition<double, FloatTag> d64;
  FloatVec quarter[kLanes / 4];
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kLanes / 4; ++i) {
    const float* r = rows + i * 4 * kLanes;
    const FloatVec r0 = hn::Load(d, r), r1 = hn::Load(d, r + kLanes);
    const FloatVec r2 = hn::Load(d, r + 2 * kLanes), r3 = hn::Load(d, r + 3 * kLanes);
    const FloatVec s01 = hn::Add(hn::InterleaveLower(d, r0, r1), hn::InterleaveUpper(d, r0, r1));
    const FloatVec s23 = hn::Add(hn::InterleaveLower(d, r2, r3), hn::InterleaveUpper(d, r2, r3));
    const auto a = hn::BitCast(d64, s01), b = hn::BitCast(d64, s23);
    quarter[i] =
        hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, a, b)), hn::BitCast(d, hn::InterleaveUpper(d64, a, b)));
  }
#if HWY_TARGET == HWY_AVX3
  const FloatVec c01 =
      hn::Add(hn::ConcatLowerLower(d, quarter[1], quarter[0]), hn::ConcatUpperUpper(d, quarter[1], quarter[0]));
  const FloatVec c23 =
      hn::Add(hn::ConcatLowerLower(d, quarter[3], quarter[2]), hn::ConcatUpperUpper(d, quarter[3], quarter[2]));
  return hn::Add(FloatVec{_mm512_shuffle_f32x4(c01.raw, c23.raw, 0x88)},
                 FloatVec{_mm512_shuffle_f32x4(c01.raw, c23.raw, 0xDD)});
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(hn::ConcatLowerLower(d, quarter[1], quarter[0]), hn::ConcatUpperUpper(d, quarter[1], quarter[0]));
#else
  static_assert(kLanes == 4, "sum_rows knows vectors of 4, 8 and 16 floats");
  return quarter[0];
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_VECTOR_MATH_INL_H
