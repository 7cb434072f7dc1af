// Register-blocked products of small matrices, shared by attention and SSD, compiled once per instruction set
// (include after Highway). A tile is a matrix whose columns are NV vectors of lanes, T = NV * kLanes: "x_T[i][T]" is an
// array of rows of T floats, aligned to a vector. The other operand is read one float at a time and broadcast, so that
// no feature count leaves lanes idle.
#if defined(HYMBA_KERNELS_TILE_PRODUCTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_TILE_PRODUCTS_INL_H
#undef HYMBA_KERNELS_TILE_PRODUCTS_INL_H
#else
#define HYMBA_KERNELS_TILE_PRODUCTS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/bf16_pairs-inl.h"
#include "kernels/padded.h"
#include "kernels/transpose-inl.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of a register block next to NV vectors of lanes.
template <std::size_t NV>
constexpr std::size_t kBlockRows = NV == 1 || kManyRegisters ? 8 : 4;

// 2^x for x < 128; 0 below -120, as for masked pairs, where a denormal on the way would cost a trap each. Relative error 3.2e-7.
HWY_INLINE FloatVec exp2_or_zero(FloatVec x) {
  const FloatVec least = hn::Set(FloatTag(), kLeastPower);
  return hn::IfThenZeroElse(hn::Lt(x, least), exp2_of(hn::Max(least, x)));
}

// Calls block.run<M>(i) for the n items in blocks of M: as many of MR as fit, then of 4, 2, 1.
template <std::size_t MR, class Block>
HWY_INLINE void for_blocks(std::int64_t n, const Block& block) {
  std::int64_t i = 0;
  for (; i + static_cast<std::int64_t>(MR) <= n; i += MR) block.template run<MR>(i);
  if constexpr (MR > 4) {
    if (i + 4 <= n) block.template run<4>(i), i += 4;
  }
  if (i + 2 <= n) block.template run<2>(i), i += 2;
  if (i < n) block.template run<1>(i);
}

// out[key][T] = sum over i of x_T[i][T] * rows[key * stride + i]. kPairs: elements of x_T and rows are pairs of features.
template <std::size_t NV, bool kPairs>
struct Products {
  const float* x_T;
  std::int64_t features;
  const float* rows;
  std::int64_t stride;
  float* out;

  template <std::size_t M>
  HWY_INLINE void run(std::int64_t key) const {
    const FloatTag d;
    const float* r = rows + key * stride;
    FloatVec sum[M][NV];
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) sum[i][j] = hn::Zero(d);
    }
    for (std::int64_t p = 0; p < features; ++p) {
      FloatVec x[NV];
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) x[j] = hn::Load(d, x_T + (p * NV + j) * kLanes);
      HYMBA_UNROLL
      for (std::size_t i = 0; i < M; ++i) {
        const FloatVec k = hn::Set(d, r[static_cast<std::int64_t>(i) * stride + p]);
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) sum[i][j] = add_product<kPairs>(k, x[j], sum[i][j]);
      }
    }
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) hn::Store(sum[i][j], d, out + ((key + i) * NV + j) * kLanes);
    }
  }
};

template <std::size_t NV, bool kPairs = false>
HWY_INLINE void products(const float* x_T, std::int64_t features, const float* rows, std::int64_t stride,
                         std::int64_t keys, float* out) {
  for_blocks<kBlockRows<NV>>(keys, Products<NV, kPairs>{x_T, features, rows, stride, out});
}

// sum_T[i][T] = sum_T * alpha + sum over keys of weights[key][T] * rows[key * stride + i]. kPairs: elements of weights and rows
// are pairs of keys.
template <std::size_t NV, bool kPairs>
struct Accumulate {
  const float* weights;
  std::int64_t keys;
  const float* rows;
  std::int64_t stride;
  float* sum_T;
  const FloatVec* alpha;

  template <std::size_t M>
  HWY_INLINE void run(std::int64_t feature) const {
    const FloatTag d;
    const float* r = rows + feature;
    float* out = sum_T + feature * NV * kLanes;
    FloatVec sum[M][NV];
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) sum[i][j] = hn::Mul(alpha[j], hn::Load(d, out + (i * NV + j) * kLanes));
    }
    for (std::int64_t key = 0; key < keys; ++key, r += stride) {
      FloatVec w[NV];
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) w[j] = hn::Load(d, weights + (key * NV + j) * kLanes);
      HYMBA_UNROLL
      for (std::size_t i = 0; i < M; ++i) {
        const FloatVec v = hn::Set(d, r[i]);
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NV; ++j) sum[i][j] = add_product<kPairs>(v, w[j], sum[i][j]);
      }
    }
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) hn::Store(sum[i][j], d, out + (i * NV + j) * kLanes);
    }
  }
};

template <std::size_t NV, bool kPairs = false>
HWY_INLINE void accumulate(const float* weights, std::int64_t keys, const float* rows, std::int64_t stride,
                           std::int64_t features, float* sum_T, const FloatVec* alpha) {
  for_blocks<kBlockRows<NV>>(features, Accumulate<NV, kPairs>{weights, keys, rows, stride, sum_T, alpha});
}

// out[i] = scale * in[i]; four at a time, since rows are often shorter than a vector.
HWY_INLINE void scale_row(const float* in, float scale, std::int64_t n, float* out) {
  const FourTag d;
  const FourVec s = hn::Set(d, scale);
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) hn::StoreU(hn::Mul(s, hn::LoadU(d, in + i)), d, out + i);
  for (; i < n; ++i) out[i] = scale * in[i];
}

HWY_INLINE float dot_row(const float* x, const float* y, std::int64_t n) {
  const FourTag d;
  FourVec sums = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) sums = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sums);
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

// Weights read one at a time: that of (key, row) lies at data[key * key_stride + row * row_stride].
struct Weights {
  const float* data;
  std::int64_t key_stride, row_stride;
};

// sums[key][i] += sum over rows of weights(key, row) * x[row][i]: lanes run over i, the features.
template <class D, std::size_t NF>
struct SumOverRows {
  Weights weights;
  std::int64_t rows;
  const float* x;
  std::int64_t width;
  float* sums;

  template <std::size_t M>
  HWY_INLINE void run(std::int64_t key) const {
    const D d;
    constexpr std::int64_t kWide = hn::MaxLanes(D());
    float* out = sums + key * width;
    const float* w = weights.data + key * weights.key_stride;
    hn::Vec<D> sum[M][NF];
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NF; ++j) sum[i][j] = hn::LoadU(d, out + i * width + j * kWide);
    }
    for (std::int64_t row = 0; row < rows; ++row, w += weights.row_stride) {
      hn::Vec<D> v[NF];
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NF; ++j) v[j] = hn::LoadU(d, x + row * width + j * kWide);
      HYMBA_UNROLL
      for (std::size_t i = 0; i < M; ++i) {
        const auto s = hn::Set(d, w[static_cast<std::int64_t>(i) * weights.key_stride]);
        HYMBA_UNROLL
        for (std::size_t j = 0; j < NF; ++j) sum[i][j] = hn::MulAdd(s, v[j], sum[i][j]);
      }
    }
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NF; ++j) hn::StoreU(sum[i][j], d, out + i * width + j * kWide);
    }
  }
};

template <class D>
void sum_over_rows_in(const Weights& weights, std::int64_t rows, std::int64_t keys, const float* x, std::int64_t width,
                      float* sums) {
  constexpr std::int64_t kWide = hn::MaxLanes(D());
  std::int64_t f = 0;
  for (; f + 2 * kWide <= width; f += 2 * kWide) {
    for_blocks<kBlockRows<2>>(keys, SumOverRows<D, 2>{weights, rows, x + f, width, sums + f});
  }
  if (f < width) for_blocks<kBlockRows<1>>(keys, SumOverRows<D, 1>{weights, rows, x + f, width, sums + f});
}

// Any padded width: half and quarter vectors where 8 or 4 features do not fill one.
HWY_INLINE void sum_over_rows(const Weights& weights, std::int64_t rows, std::int64_t keys, const float* x,
                              std::int64_t width, float* sums) {
  if (width % kLanes == 0) {
    sum_over_rows_in<FloatTag>(weights, rows, keys, x, width, sums);
  } else if (width == 8) {
    sum_over_rows_in<hn::CappedTag<float, 8>>(weights, rows, keys, x, width, sums);
  } else {
    sum_over_rows_in<hn::CappedTag<float, 4>>(weights, rows, keys, x, width, sums);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_TILE_PRODUCTS_INL_H
