// Products of bf16 with sums in float32 (AVX-512 BF16, where multiplies_bf16() of isa.h), compiled once per instruction set (include
// after Highway). A pair is two numbers of bf16 in the place of one float, the first in its low half. The two instructions are newer
// than Highway's AVX-512 level, so they are written out.
#if defined(HYMBA_KERNELS_BF16_PAIRS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_BF16_PAIRS_INL_H
#undef HYMBA_KERNELS_BF16_PAIRS_INL_H
#else
#define HYMBA_KERNELS_BF16_PAIRS_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr bool kHasPairs = HWY_TARGET == HWY_AVX3;

// sum + x * v; of pairs: sum + x[0] * v[0] + x[1] * v[1].
template <bool kPairs>
HWY_INLINE FloatVec add_product(FloatVec x, FloatVec v, FloatVec sum) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (kPairs) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(v.raw), "v"(x.raw));
    return sum;
  }
#endif
  return hn::MulAdd(x, v, sum);
}

#if HWY_TARGET == HWY_AVX3
HWY_ALIGN constexpr std::uint16_t kInterleaved[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

// The pairs of the 32 floats (first, second), rounded to the nearest bf16 (ties to even; denormal numbers become 0).
HWY_INLINE FloatVec pairs_along(FloatVec first, FloatVec second) {
  FloatVec pairs;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(pairs.raw) : "v"(first.raw), "v"(second.raw));
  return pairs;
}

// Lane i: the pair (first[i], second[i]), rounded so.
HWY_INLINE FloatVec pairs_across(FloatVec first, FloatVec second) {
  const __m512i words = _mm512_castps_si512(pairs_along(first, second).raw);
  return FloatVec{_mm512_castsi512_ps(_mm512_permutexvar_epi16(_mm512_load_si512(kInterleaved), words))};
}
#else  // never called: multiplies_bf16() is false
HWY_INLINE FloatVec pairs_along(FloatVec first, FloatVec) { return first; }
HWY_INLINE FloatVec pairs_across(FloatVec first, FloatVec) { return first; }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_BF16_PAIRS_INL_H
