// Dot products of rows in memory (float, bfloat16 or float16, widened on load) with float vectors: the inner loops of
// decoding, where a weight or a cached key is read once and memory is the limit. Include after Highway.
#if defined(HYMBA_KERNELS_DOT_PRODUCTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_DOT_PRODUCTS_INL_H
#undef HYMBA_KERNELS_DOT_PRODUCTS_INL_H
#else
#define HYMBA_KERNELS_DOT_PRODUCTS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/storage.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The floats at p that fill a vector of tag d.
template <class D>
HWY_INLINE hn::Vec<D> load_float(D d, const float* p) {
  return hn::LoadU(d, p);
}

// 16 bits each as floats; the pointer says which type they are of.
template <class D>
HWY_INLINE hn::Vec<D> float_of(D d, const BFloat16*, hn::Vec<hn::Rebind<std::uint16_t, D>> bits) {
  const hn::RebindToUnsigned<D> d32;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));  // a bfloat16 is the upper half of a float
}
template <class D>
HWY_INLINE hn::Vec<D> float_of(D d, const Float16*, hn::Vec<hn::Rebind<std::uint16_t, D>> bits) {
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load_float(D d, const T* p) {
  const hn::Rebind<std::uint16_t, D> d16;
  return float_of(d, p, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
}

template <class T>
HWY_INLINE FloatVec load_float(const T* p) {
  return load_float(FloatTag(), p);
}

// The first `count` elements, zeros behind them; never touches memory behind them.
HWY_INLINE FloatVec load_float_part(const float* p, std::int64_t count) { return load_part(p, count); }
template <class T>
HWY_INLINE FloatVec load_float_part(const T* p, std::int64_t count) {
  if (HWY_LIKELY(count >= kLanes)) return load_float(p);
#if HWY_TARGET == HWY_AVX3  // masked lanes are not touched
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const auto first = hn::FirstN(d16, static_cast<std::size_t>(count > 0 ? count : 0));
  const auto bits = hn::MaskedLoad(first, d16, reinterpret_cast<const std::uint16_t*>(p));
  return float_of(FloatTag(), p, bits);
#endif
  HWY_ALIGN T lanes[kLanes] = {};
  if (count > 0) std::memcpy(lanes, p, sizeof(T) * static_cast<std::size_t>(count));
  return load_float(lanes);
}

// Dot products of kRows rows with kCols vectors, all in one register at the end: lane r * kCols + c of the result is row
// r times vector c, both of n elements. kRows * kCols is the number of lanes. Rows from `row_count` on repeat the last.
// Four rows at a time, each with up to four sums, which registers hold. They are a quarter of the rows apart, so that memory is
// read in four streams without gaps: sixteen streams, or streams that skip rows, cost up to a third of the bandwidth.
template <int kRows, int kCols, class T>
HWY_INLINE FloatVec dot_products(const T* rows, std::int64_t row_stride, std::int64_t row_count, const float* x,
                                 std::int64_t x_stride, std::int64_t n) {
  static_assert(kRows * kCols == kLanes);
  constexpr int kGroup = kRows < 4 ? kRows : 4;
  constexpr int kGroups = kRows / kGroup;
  constexpr int kAhead = 1024;  // bytes: one vector waits for memory alone, and the hardware fetches too few lines ahead
  constexpr int kSums = kLanes / (kGroup * kCols) < 4 ? static_cast<int>(kLanes) / (kGroup * kCols) : 4;
  const FloatTag d;
  HWY_ALIGN float lanes[kLanes * kLanes];
  for (int first = 0; first < kGroups; ++first) {
    const T* row[kGroup];
    FloatVec sum[kGroup][kCols][kSums];
#pragma GCC unroll 16
    for (int r = 0; r < kGroup; ++r) {
      row[r] = rows + std::min<std::int64_t>(first + r * kGroups, row_count - 1) * row_stride;
#pragma GCC unroll 16
      for (int c = 0; c < kCols; ++c) {
#pragma GCC unroll 16
        for (int s = 0; s < kSums; ++s) sum[r][c][s] = hn::Zero(d);
      }
    }
    const auto step = [&](std::int64_t i, int s, const auto& load_row, const auto& load_x) HWY_ATTR {
      FloatVec v[kCols];
#pragma GCC unroll 16
      for (int c = 0; c < kCols; ++c) v[c] = load_x(x + c * x_stride + i);
#pragma GCC unroll 16
      for (int r = 0; r < kGroup; ++r) {
        if (kCols == 1) __builtin_prefetch(reinterpret_cast<const char*>(row[r] + i) + kAhead, 0, 2);
        const FloatVec w = load_row(row[r] + i);
#pragma GCC unroll 16
        for (int c = 0; c < kCols; ++c) sum[r][c][s] = hn::MulAdd(w, v[c], sum[r][c][s]);
      }
    };
    const auto whole_row = [](const T* p) HWY_ATTR { return load_float(p); };
    const auto whole_x = [](const float* p) HWY_ATTR { return load_float(p); };
    std::int64_t i = 0;
    for (; i + kSums * kLanes <= n; i += kSums * kLanes) {
#pragma GCC unroll 16
      for (int s = 0; s < kSums; ++s) step(i + s * kLanes, s, whole_row, whole_x);
    }
    for (; i + kLanes <= n; i += kLanes) step(i, 0, whole_row, whole_x);
    if (i < n) {
      const std::int64_t left = n - i;
      step(
          i, 0, [left](const T* p) HWY_ATTR { return load_float_part(p, left); },
          [left](const float* p) HWY_ATTR { return load_float_part(p, left); });
    }
#pragma GCC unroll 16
    for (int r = 0; r < kGroup; ++r) {
#pragma GCC unroll 16
      for (int c = 0; c < kCols; ++c) {
#pragma GCC unroll 16
        for (int s = 1; s < kSums; ++s) sum[r][c][0] = hn::Add(sum[r][c][0], sum[r][c][s]);
        hn::Store(sum[r][c][0], d, lanes + ((first + r * kGroups) * kCols + c) * kLanes);
      }
    }
  }
  return sum_rows(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_DOT_PRODUCTS_INL_H
