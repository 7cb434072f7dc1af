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

#ifndef HYMBA_UNROLL
#define HYMBA_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVec = hn::Vec<FloatTag>;
constexpr std::int64_t kLanes = hn::MaxLanes(FloatTag());
#if HWY_TARGET == HWY_AVX3
constexpr bool kManyRegisters = true;  // 32 vector registers, not 16
#else
constexpr bool kManyRegisters = false;
#endif

constexpr float kLog2e = 1.44269504088896341f;
constexpr float kLog2eLow = 1.925963033500e-8f;  // log2(e) - kLog2e
constexpr float kLn2 = 0.693147180559945309f;

// The first `count` floats (>= kLanes: a whole vector), zeros behind them; never touches memory behind them.
HWY_INLINE FloatVec load_part(const float* p, std::int64_t count) {
  const FloatTag d;
  if (HWY_LIKELY(count >= kLanes)) return hn::LoadU(d, p);
#if HWY_TARGET == HWY_AVX3  // masked lanes are not touched
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count > 0 ? count : 0)), d, p);
#endif
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

// A power of two in parts: 2^(n + f), where n is a multiple of kShift's last place and |f| half of that. Taken as `shifted` = n + kShift, whose low
// bits count those places, n - kCentre and f + kCentre: the additions that part a number give these as well.
#if HWY_TARGET == HWY_AVX3
constexpr float kShift = 393216.0f;  // 1.5 * 2^18: parts of 1/32
constexpr float kCentre = 1.4375f;   // 2^f = a (f + 1 / ln 2)^2 + b to the second order: its nearest multiple of 1/32
// 2^(i / 32) * 0.2411 * 2^(1.4375 rounded up, down from i = 14 on), each entry the one with the least largest error.
HWY_ALIGN constexpr float kPowers[32] = {
    0.96439606f,  0.985513508f, 1.00709343f,  1.02914596f,  1.05168128f,  1.07471013f,  1.09824324f,  1.12229156f,
    1.14686656f,  1.17197967f,  1.19764268f,  1.22386765f,  1.25066686f,  1.27805293f,  0.653019309f, 0.667318583f,
    0.681930959f, 0.696863294f, 0.712122619f, 0.727716088f, 0.743650973f, 0.759934843f, 0.776575208f, 0.793579996f,
    0.810957134f, 0.828714788f, 0.846861303f, 0.865405142f, 0.884355068f, 0.903719902f, 0.923508763f, 0.94373101f,
};

// Relative error 3.1e-7; 2^0 = 1 exactly. 0 and infinity where the result is beyond float. A look-up in two registers and a
// square keep the multipliers, which bind the scan, to three instructions; a polynomial of degree 5 takes six.
HWY_INLINE FloatVec exp2_of_parts(FloatVec n, FloatVec f, FloatVec shifted) {
  const __m512 table =
      _mm512_permutex2var_ps(_mm512_load_ps(kPowers), _mm512_castps_si512(shifted.raw), _mm512_load_ps(kPowers + 16));
  const FloatVec power{_mm512_scalef_ps(table, n.raw)};  // scalef takes n's floor
  return hn::Mul(power, hn::MulAdd(f, f, hn::Set(FloatTag(), 2.08126712f)));
}
#elif HWY_TARGET == HWY_AVX2
constexpr float kShift = 1572864.0f;  // 1.5 * 2^20: parts of 1/8
constexpr float kCentre = 1.5f;       // 2^f = a ((f + 1 / ln 2)^3 + p (f + 1 / ln 2) + q) to the third order: its nearest multiple of 1/8
// The bits of 2^(i / 8) * 0.05339, less i where shifting `shifted` puts the eighths of n.
HWY_ALIGN constexpr std::int32_t kPowers[8] = {0x3d5ab135, 0x3d5e7c4d, 0x3d620901, 0x3d5dcdea,
                                               0x3d5aa385, 0x3d58a27f, 0x3d57e5c3, 0x3d588aa9};

// Relative error 3.2e-7; 2^0 = 1 exactly. n from -120 to 127. A look-up in a register and a cubic without a square term: three
// instructions for the multipliers, where a polynomial of degree 5 takes five.
HWY_INLINE FloatVec exp2_of_parts(FloatVec, FloatVec f, FloatVec shifted) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const auto bits = hn::BitCast(di, shifted);
  const hn::Vec<decltype(di)> table{_mm256_permutevar8x32_epi32(hn::Load(di, kPowers).raw, bits.raw)};
  const FloatVec power = hn::BitCast(d, hn::Add(table, hn::ShiftLeft<20>(bits)));
  const FloatVec p = hn::MulAdd(f, f, hn::Set(d, 6.23242426f));
  return hn::Mul(power, hn::MulAdd(p, f, hn::Set(d, 6.00588226f)));
}
#else
constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: whole numbers
constexpr float kCentre = 0.0f;

// Relative error 2e-7; 2^0 = 1 exactly. n from -126 to 127.
HWY_INLINE FloatVec exp2_of_parts(FloatVec, FloatVec f, FloatVec shifted) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  // Minimax on |f| <= 1/2: 1.1e-7.
  FloatVec p = hn::MulAdd(hn::Set(d, 0.001326472731307149f), f, hn::Set(d, 0.009671512991189957f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550733581185341f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022242426872253f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931470036506653f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}
#endif

constexpr float kLeastPower = -120.0f;  // of two, for which no part above is a denormal

// 2^p, p within what exp2_of_parts takes.
HWY_INLINE FloatVec exp2_of(FloatVec p) {
  const FloatTag d;
  const FloatVec shifted = hn::Add(p, hn::Set(d, kShift));
  const FloatVec n = hn::Sub(shifted, hn::Set(d, kShift + kCentre));
  return exp2_of_parts(n, hn::Sub(p, n), shifted);
}

// 2^(x * y). Relative error 3.2e-7 + 6e-8 |x * y|: the second term is the rounding of the product, as in exp(x * y). Without AVX-512 the product
// is clamped to [-120, 127.9]: instead of 0 the result is 7.5e-37, instead of infinity 3e38.
HWY_INLINE FloatVec exp2_product(FloatVec x, FloatVec y) {
#if HWY_TARGET == HWY_AVX3
  // As a function of its own: the compiler must not make fused ones of it and the additions, which go elsewhere than the multipliers.
  return exp2_of(FloatVec{_mm512_mul_round_ps(x.raw, y.raw, _MM_FROUND_CUR_DIRECTION)});
#else
  const FloatTag d;
  // Min and Max return their second argument if one is NaN.
  return exp2_of(hn::Min(hn::Set(d, 127.9f), hn::Max(hn::Set(d, kLeastPower), hn::Mul(x, y))));
#endif
}

constexpr float kLeastExponent = kLeastPower * kLn2;
constexpr float kMostExponent = 88.3f;

// exp(x), x within these two. Relative error 3.5e-7, and 6e-8 |x| where the processor has no fused multiply-adds (SSE4.2); so have the
// functions below.
HWY_INLINE FloatVec exp_within(FloatVec x) {
  const FloatTag d;
  const FloatVec shifted = hn::MulAdd(x, hn::Set(d, kLog2e), hn::Set(d, kShift));
  const FloatVec n = hn::Sub(shifted, hn::Set(d, kShift + kCentre));
  FloatVec f = hn::MulSub(x, hn::Set(d, kLog2e), n);
  f = hn::MulAdd(x, hn::Set(d, kLog2eLow), f);
  return exp2_of_parts(n, f, shifted);
}

// exp(x) for any x, clamped to [8e-37, 2.2e38].
HWY_INLINE FloatVec exp_accurate(FloatVec x) {
  const FloatTag d;
  return exp_within(hn::Min(hn::Set(d, kMostExponent), hn::Max(hn::Set(d, kLeastExponent), x)));
}

// 1 / x for 1 <= x <= 8e37; relative error 1.2e-7. A 512-bit division takes 16 cycles, an estimate and a step five.
HWY_INLINE FloatVec reciprocal(FloatVec x) {
  const FloatTag d;
#if HWY_TARGET == HWY_AVX3
  const FloatVec r = hn::ApproximateReciprocal(x);  // error 2^-14, which the Newton step squares
  return hn::MulAdd(r, hn::NegMulAdd(x, r, hn::Set(d, 1.0f)), r);
#else
  return hn::Div(hn::Set(d, 1.0f), x);
#endif
}

// 1 / (1 + exp(-x)); relative error 4.5e-7.
HWY_INLINE FloatVec sigmoid(FloatVec x) {
  return reciprocal(hn::Add(hn::Set(FloatTag(), 1.0f), exp_accurate(hn::Neg(x))));
}

// Of i / (kLanes - 1): its 1 / (1 + w), and minus the logarithm of that number as rounded; log1p(r) / r - 1 from the highest power of r down,
// minimax on |r| <= 1 / (2 kLanes - 2).
#if HWY_TARGET == HWY_AVX3
HWY_ALIGN constexpr float kReciprocals[kLanes] = {
    1.0f,         0.9375f, 0.882352948f, 0.833333313f, 0.789473712f, 0.75f,        0.714285731f, 0.681818187f,
    0.652173936f, 0.625f,  0.600000024f, 0.576923072f, 0.555555582f, 0.535714269f, 0.517241359f, 0.5f,
};
HWY_ALIGN constexpr float kLogarithms[kLanes] = {
    0.0f,         0.0645385236f, 0.125163138f, 0.182321578f, 0.236388743f, 0.287682086f, 0.336472213f, 0.382992238f,
    0.427443981f, 0.470003635f,  0.510825574f, 0.550046325f, 0.587786615f, 0.624154329f, 0.65924567f,  0.693147182f,
};
constexpr float kLog1p[] = {-0.25019699335098267f, 0.33351758122444153f, -0.4999999701976776f};  // 4e-8

// table[low bits of `shifted`]
HWY_INLINE FloatVec look_up(const float* table, FloatVec shifted) {
  return FloatVec{_mm512_permutexvar_ps(_mm512_castps_si512(shifted.raw), _mm512_load_ps(table))};
}
#elif HWY_TARGET == HWY_AVX2
HWY_ALIGN constexpr float kReciprocals[kLanes] = {1.0f,         0.875f,       0.777777791f, 0.699999988f,
                                                  0.636363626f, 0.583333313f, 0.538461566f, 0.5f};
HWY_ALIGN constexpr float kLogarithms[kLanes] = {0.0f,         0.133531392f, 0.251314402f, 0.356674969f,
                                                 0.451985151f, 0.538996518f, 0.619039178f, 0.693147182f};
constexpr float kLog1p[] = {0.20103710889816284f, -0.2510647475719452f, 0.3333316445350647f, -0.49999865889549255f};  // 2e-8

// table[low bits of `shifted`]
HWY_INLINE FloatVec look_up(const float* table, FloatVec shifted) {
  return FloatVec{_mm256_permutevar8x32_ps(_mm256_load_ps(table), _mm256_castps_si256(shifted.raw))};
}
#endif

// log(1 + w), 0 <= w <= 1, small results with all their digits; relative error 2e-7.
HWY_INLINE FloatVec log1p_of_part(FloatVec w) {
  const FloatTag d;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  // Shorter than a series, which needs a division: r = (1 + w) R - 1 for the nearest R of the table, and log1p(r) - log(R).
  const FloatVec one = hn::Set(d, 1.0f);
  const FloatVec shifted = hn::MulAdd(w, hn::Set(d, static_cast<float>(kLanes - 1)), hn::Set(d, 12582912.0f));  // 1.5 * 2^23
  const FloatVec R = look_up(kReciprocals, shifted), r = hn::MulAdd(w, R, hn::Sub(R, one));
  FloatVec p = hn::Set(d, kLog1p[0]);
  HYMBA_UNROLL
  for (std::size_t i = 1; i < sizeof(kLog1p) / sizeof(float); ++i) p = hn::MulAdd(p, r, hn::Set(d, kLog1p[i]));
  return hn::MulAdd(hn::MulAdd(p, r, one), r, look_up(kLogarithms, shifted));
#else
  // 2 atanh(w / (2 + w)), an odd series.
  const FloatVec s = hn::Mul(w, reciprocal(hn::Add(hn::Set(d, 2.0f), w)));
  const FloatVec q = hn::Mul(s, s);
  FloatVec p = hn::MulAdd(hn::Set(d, 0.24289561808109283f), q, hn::Set(d, 0.21430739760398865f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.2861659824848175f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.39998888969421387f));
  p = hn::MulAdd(p, q, hn::Set(d, 0.6666667461395264f));
  return hn::MulAdd(hn::Mul(s, q), p, hn::Add(s, s));
#endif
}

// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) and its derivative, the sigmoid; relative error 5e-7 for both.
HWY_INLINE FloatVec softplus(FloatVec x, FloatVec* derivative) {
  const FloatTag d;
  const FloatVec one = hn::Set(d, 1.0f);
  const FloatVec w = exp_within(hn::Max(hn::Set(d, kLeastExponent), hn::Neg(hn::Abs(x))));
  if (derivative) {
    const FloatVec top = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), w, one);
    *derivative = hn::Mul(top, reciprocal(hn::Add(one, w)));
  }
  return hn::Add(hn::Max(hn::Zero(d), x), log1p_of_part(w));
}

// A block is four lanes. Block i of the result: the sum of the blocks of rows[i], lane by lane.
constexpr std::int64_t kBlocks = kLanes / 4;
HWY_INLINE FloatVec fold_blocks(const FloatVec (&rows)[kBlocks]) {
#if HWY_TARGET == HWY_AVX3
  const FloatTag d;
  const FloatVec c01 = hn::Add(hn::ConcatLowerLower(d, rows[1], rows[0]), hn::ConcatUpperUpper(d, rows[1], rows[0]));
  const FloatVec c23 = hn::Add(hn::ConcatLowerLower(d, rows[3], rows[2]), hn::ConcatUpperUpper(d, rows[3], rows[2]));
  return hn::Add(FloatVec{_mm512_shuffle_f32x4(c01.raw, c23.raw, 0x88)},
                 FloatVec{_mm512_shuffle_f32x4(c01.raw, c23.raw, 0xDD)});
#elif HWY_TARGET == HWY_AVX2
  const FloatTag d;
  return hn::Add(hn::ConcatLowerLower(d, rows[1], rows[0]), hn::ConcatUpperUpper(d, rows[1], rows[0]));
#else
  static_assert(kLanes == 4, "fold_blocks knows vectors of 4, 8 and 16 floats");
  return rows[0];
#endif
}

// Of four consecutive vectors at `rows`: lane i of each block of the result is the sum of that block of vector i.
HWY_INLINE FloatVec sum_blocks(const float* HWY_RESTRICT rows) {
  const FloatTag d;
  const hn::Repartition<double, FloatTag> d64;
  const FloatVec r0 = hn::Load(d, rows), r1 = hn::Load(d, rows + kLanes);
  const FloatVec r2 = hn::Load(d, rows + 2 * kLanes), r3 = hn::Load(d, rows + 3 * kLanes);
  const auto a = hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, r0, r1), hn::InterleaveUpper(d, r0, r1)));
  const auto b = hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, r2, r3), hn::InterleaveUpper(d, r2, r3)));
  return hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, a, b)), hn::BitCast(d, hn::InterleaveUpper(d64, a, b)));
}

// Sums of the lanes of each of kLanes consecutive vectors at `rows`: lane i of the result is the sum of vector i.
HWY_INLINE FloatVec sum_rows(const float* HWY_RESTRICT rows) {
  FloatVec sums[kBlocks];
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kBlocks; ++i) sums[i] = sum_blocks(rows + i * 4 * kLanes);
  return fold_blocks(sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_VECTOR_MATH_INL_H
