// Transposes between rows, wherever each of them lies, and tiles whose lanes run over the rows: x_T[i * tile + r] is number i of
// row r. Whole vectors of rows at a time; compiled once per instruction set (include after Highway).
#if defined(HYMBA_KERNELS_TRANSPOSE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_TRANSPOSE_INL_H
#undef HYMBA_KERNELS_TRANSPOSE_INL_H
#else
#define HYMBA_KERNELS_TRANSPOSE_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dot_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FourTag = hn::CappedTag<float, 4>;
using FourVec = hn::Vec<FourTag>;

// What becomes of each number on its way: nothing, or a product with a factor.
struct AsIs {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D, hn::Vec<D> v) const {
    return v;
  }
};
struct Times {
  float factor;
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, hn::Vec<D> v) const {
    return hn::Mul(hn::Set(d, factor), v);
  }
};

// Transposes each block of four lanes.
template <class D>
HWY_INLINE void transpose_4x4(D d, hn::Vec<D> v[4]) {
  const hn::Repartition<double, D> d64;
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, v[0], v[1]));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, v[2], v[3]));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, v[0], v[1]));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

// Numbers i to i + 3 of as many rows as the vector has lanes, from `first` on: block b of v[t] is of row first + 4 b + t.
template <class D, class Row>
HWY_INLINE void load_blocks([[maybe_unused]] D d, const Row& row, std::int64_t first, std::int64_t i, hn::Vec<D> v[4]) {
  HYMBA_UNROLL
  for (int t = 0; t < 4; ++t) {
    const auto four = [&](int block) { return load_float(FourTag(), row(first + 4 * block + t) + i); };
    if constexpr (hn::MaxLanes(D()) == 4) {
      v[t] = four(0);
#if HWY_TARGET == HWY_AVX2
    } else {
      v[t] = hn::Combine(d, four(1), four(0));
#elif HWY_TARGET == HWY_AVX3
    } else {
      const __m512 low = _mm512_castps128_ps512(four(0).raw);
      const __m512 half = _mm512_insertf32x4(low, four(1).raw, 1);
      const __m512 most = _mm512_insertf32x4(half, four(2).raw, 2);
      v[t].raw = _mm512_insertf32x4(most, four(3).raw, 3);
#endif
    }
  }
}

// The way back.
template <class D, class Row>
HWY_INLINE void store_blocks(D, const hn::Vec<D> v[4], const Row& row, std::int64_t first, std::int64_t i) {
  HYMBA_UNROLL
  for (int t = 0; t < 4; ++t) {
    const auto put = [&](int block, FourVec four) { hn::StoreU(four, FourTag(), row(first + 4 * block + t) + i); };
    if constexpr (hn::MaxLanes(D()) == 4) {
      put(0, v[t]);
#if HWY_TARGET == HWY_AVX2
    } else {
      put(0, hn::LowerHalf(v[t]));
      put(1, hn::UpperHalf(FourTag(), v[t]));
#elif HWY_TARGET == HWY_AVX3
    } else {
      put(0, FourVec{_mm512_castps512_ps128(v[t].raw)});
      put(1, FourVec{_mm512_extractf32x4_ps(v[t].raw, 1)});
      put(2, FourVec{_mm512_extractf32x4_ps(v[t].raw, 2)});
      put(3, FourVec{_mm512_extractf32x4_ps(v[t].raw, 3)});
#endif
    }
  }
}

// As transpose_rows(), for as many rows from `first` on as the vector has lanes: 1, 4 or all.
template <class D, class Row, class Finish>
HWY_INLINE void transpose_lanes(D d, const Row& row, std::int64_t first, std::int64_t columns, float* x_T, std::int64_t tile,
                                const Finish& finish) {
  std::int64_t i = 0;
  if constexpr (hn::MaxLanes(D()) >= 4) {
    for (; i + 4 <= columns; i += 4) {
      hn::Vec<D> v[4];
      load_blocks(d, row, first, i, v);
      transpose_4x4(d, v);
      HYMBA_UNROLL
      for (int t = 0; t < 4; ++t) hn::StoreU(finish(d, v[t]), d, x_T + (i + t) * tile + first);
    }
  }
  const hn::CappedTag<float, 1> one;
  for (; i < columns; ++i) {
    for (std::int64_t r = first; r < first + static_cast<std::int64_t>(hn::MaxLanes(d)); ++r) {
      hn::StoreU(finish(one, load_float(one, row(r) + i)), one, x_T + i * tile + r);
    }
  }
}

// x_T[i * tile + r] = finish(row(r)[i]) for r < rows, i < columns. row(r): a pointer, to float or to 16 bits, which are widened.
template <class Row, class Finish = AsIs>
HWY_INLINE void transpose_rows(const Row& row, std::int64_t rows, std::int64_t columns, float* x_T, std::int64_t tile,
                               const Finish& finish = {}) {
  std::int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) transpose_lanes(FloatTag(), row, r, columns, x_T, tile, finish);
  for (; r + 4 <= rows; r += 4) transpose_lanes(FourTag(), row, r, columns, x_T, tile, finish);
  for (; r < rows; ++r) transpose_lanes(hn::CappedTag<float, 1>(), row, r, columns, x_T, tile, finish);
}

template <class D, class Row, class Finish>
HWY_INLINE void write_lanes(D d, const float* x_T, std::int64_t tile, std::int64_t first, std::int64_t columns, const Row& row,
                            const Finish& finish) {
  std::int64_t i = 0;
  if constexpr (hn::MaxLanes(D()) >= 4) {
    for (; i + 4 <= columns; i += 4) {
      hn::Vec<D> v[4];
      HYMBA_UNROLL
      for (int t = 0; t < 4; ++t) v[t] = finish(d, hn::LoadU(d, x_T + (i + t) * tile + first));
      transpose_4x4(d, v);
      store_blocks(d, v, row, first, i);
    }
  }
  const hn::CappedTag<float, 1> one;
  for (; i < columns; ++i) {
    for (std::int64_t r = first; r < first + static_cast<std::int64_t>(hn::MaxLanes(d)); ++r) {
      hn::StoreU(finish(one, hn::LoadU(one, x_T + i * tile + r)), one, row(r) + i);
    }
  }
}

// row(r)[i] = finish(x_T[i * tile + r]) for r < rows, i < columns.
template <class Row, class Finish = AsIs>
HWY_INLINE void write_rows(const float* x_T, std::int64_t tile, std::int64_t rows, std::int64_t columns, const Row& row,
                           const Finish& finish = {}) {
  std::int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) write_lanes(FloatTag(), x_T, tile, r, columns, row, finish);
  for (; r + 4 <= rows; r += 4) write_lanes(FourTag(), x_T, tile, r, columns, row, finish);
  for (; r < rows; ++r) write_lanes(hn::CappedTag<float, 1>(), x_T, tile, r, columns, row, finish);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_TRANSPOSE_INL_H
