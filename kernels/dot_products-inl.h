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

HWY_INLINE FloatVec load_float(const float* p) { return hn::LoadU(FloatTag(), p); }

HWY_INLINE FloatVec load_float(const BFloat16* p) {
  const hn::RebindToUnsigned<FloatTag> d32;
  const hn::Rebind<std::uint16_t, FloatTag> d16;
  const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bits));  // a bfloat16 is the upper half of a float
}

HWY_INLINE FloatVec load_float(const Float16* p) {
  const hn::Rebind<hwy::float16_t, FloatTag> d16;
  return hn::PromoteTo(FloatTag(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}

// The first `count` elements, zeros behind them; never touches memory behind them.
template <class T>
HWY_INLINE FloatVec load_float_part(const T* p, std::int64_t count) {
  if (HWY_LIKELY(count >= kLanes)) return load_float(p);
  HWY_ALIGN T lanes[kLanes] = {};
  if (count > 0) std::memcpy(lanes, p, sizeof(T) * static_cast<std::size_t>(count));
  return load_float(lanes);
}

// Dot products of kRows rows with kCols vectors, all at once in registers: lane r * kCols + c of the result is row r
// times vector c, both of n elements. kRows * kCols is the number of lanes. Rows from `row_count` on repeat the last.
template <int kRows, int kCols, class T>
HWY_INLINE FloatVec dot_products(const T* rows, std::int64_t row_stride, std::int64_t row_count, const float* x,
                                 std::int64_t x_stride, std::int64_t n) {
  static_assert(kRows * kCols == kLanes);
  const FloatTag d;
  const T* row[kRows];
  FloatVec sum[kRows][kCols];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    row[r] = rows + std::min<std::int64_t>(r, row_count - 1) * row_stride;
#pragma GCC unroll 16
    for (int c = 0; c < kCols; ++c) sum[r][c] = hn::Zero(d);
  }
  const auto step = [&](std::int64_t i, const auto& load_row, const auto& load_x) HWY_ATTR {
    FloatVec v[kCols];
#pragma GCC unroll 16
    for (int c = 0; c < kCols; ++c) v[c] = load_x(x + c * x_stride + i);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const FloatVec w = load_row(row[r] + i);
#pragma GCC unroll 16
      for (int c = 0; c < kCols; ++c) sum[r][c] = hn::MulAdd(w, v[c], sum[r][c]);
    }
  };
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    step(
        i, [](const T* p) HWY_ATTR { return load_float(p); }, [](const float* p) HWY_ATTR { return load_float(p); });
  }
  if (i < n) {
    const std::int64_t left = n - i;
    step(
        i, [left](const T* p) HWY_ATTR { return load_float_part(p, left); },
        [left](const float* p) HWY_ATTR { return load_float_part(p, left); });
  }
  HWY_ALIGN float lanes[kLanes * kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int c = 0; c < kCols; ++c) hn::Store(sum[r][c], d, lanes + (r * kCols + c) * kLanes);
  }
  return sum_rows(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_DOT_PRODUCTS_INL_H
