// Lanes run over columns. A block of rows times up to four vectors of columns stays in registers while k runs; elements
// of A are broadcast. Small weights are not packed: they fit the L2 cache as they are, and packing is what costs a library a
// quarter of its time at these sizes. Of large ones a panel at a time is copied, transposed and widened where needed.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/gemm/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/bf16_pairs-inl.h"
#include "kernels/dot_products-inl.h"
#include "kernels/tile_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr std::int64_t kSteps = 128;  // of k between two visits of C: a panel of B of that length stays near
constexpr int kVectors = kManyRegisters ? 4 : 2;
template <int NV>
constexpr int kBlock = kManyRegisters ? (NV == 4 ? 6 : 8) : (NV == 2 ? 6 : 8);

// What one panel of columns needs over a range of k.
struct Panel {
  const float *a, *b, *start;  // start: null for zeros
  float* c;
  std::int64_t a_row, a_step, b_row, c_row, steps, columns;
  bool add_last;  // start's numbers are added to the sums, not sums to them (long sums lose less)
};

template <int NV, bool kPairs>
struct Block {
  const Panel& p;

  template <std::size_t M>
  HWY_INLINE void run(std::int64_t row) const {
    p.a_row == 1 ? rows<M>(row, std::int64_t{1}) : rows<M>(row, p.a_row);
  }

  template <std::size_t M>
  HWY_INLINE void rows(std::int64_t row, std::int64_t a_row) const {
    const FloatTag d;
    const float* a = p.a + row * a_row;
    const float* b = p.b;
    FloatVec sum[M][NV];
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (int j = 0; j < NV; ++j) {
        sum[i][j] = p.start && !p.add_last ? started(row, i, j) : hn::Zero(d);
      }
    }
    for (std::int64_t k = 0; k < p.steps; ++k, a += p.a_step, b += p.b_row) {
      FloatVec v[NV];
      HYMBA_UNROLL
      for (int j = 0; j < NV; ++j) v[j] = hn::LoadU(d, b + j * kLanes);
      HYMBA_UNROLL
      for (std::size_t i = 0; i < M; ++i) {
        const FloatVec x = hn::Set(d, a[static_cast<std::int64_t>(i) * a_row]);
        HYMBA_UNROLL
        for (int j = 0; j < NV; ++j) sum[i][j] = add_product<kPairs>(x, v[j], sum[i][j]);
      }
    }
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (int j = 0; j < NV; ++j) {
        const FloatVec all = p.start && p.add_last ? hn::Add(sum[i][j], started(row, i, j)) : sum[i][j];
        store_part(all, p.c + place(row, i, j), p.columns - j * kLanes);
      }
    }
  }

  HWY_INLINE std::int64_t place(std::int64_t row, std::size_t i, int j) const {
    return (row + static_cast<std::int64_t>(i)) * p.c_row + j * kLanes;
  }
  HWY_INLINE FloatVec started(std::int64_t row, std::size_t i, int j) const {
    return load_part(p.start + place(row, i, j), p.columns - j * kLanes);
  }
};

template <int NV, bool kPairs>
HWY_INLINE void panel(const Panel& p, std::int64_t rows) {
  for_blocks<kBlock<NV>>(rows, Block<NV, kPairs>{p});
}

// The columns that `p` starts at: up to kVectors vectors of them, `columns` left.
template <bool kPairs>
HWY_INLINE void any_panel(const Panel& p, std::int64_t rows) {
  const std::int64_t vectors = std::min<std::int64_t>(kVectors, (p.columns + kLanes - 1) / kLanes);
  if (vectors == 1) panel<1, kPairs>(p, rows);
  if (vectors == 2) panel<2, kPairs>(p, rows);
  if constexpr (kVectors == 4) {
    if (vectors == 3) panel<3, kPairs>(p, rows);
    if (vectors == 4) panel<4, kPairs>(p, rows);
  }
}

// What the sums of the steps from k on start from: once the first steps are in C, C.
HWY_INLINE const float* start_of(const float* start, const float* c, std::int64_t k, std::int64_t at) {
  return k > 0 ? c + at : start ? start + at : nullptr;
}

void product_tasks(const Shape& s, const float* a, const float* b, const float* start, float* c, std::int64_t begin, std::int64_t end) {
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t first = task * kRows, rows = std::min(kRows, s.M - first);
    for (std::int64_t k = 0; k < std::max<std::int64_t>(s.K, 1); k += kSteps) {
      for (std::int64_t j = 0; j < s.N; j += kVectors * kLanes) {
        const std::int64_t at = first * s.c_row + j;
        any_panel<false>({a + first * s.a_row + k * s.a_step, b + k * s.b_row + j, start_of(start, c, k, at), c + at, s.a_row, s.a_step,
                          s.b_row, s.c_row, std::min(kSteps, s.K - k), s.N - j, false},
                         rows);
      }
    }
  }
}

constexpr std::int64_t kWidth = kVectors * kLanes;  // of a register block; a packed panel holds kPanel / kWidth of those

// out[k * kWidth + j] = b[j * row + k] for `columns` <= kWidth columns, zeros behind them.
template <class T>
void pack_transposed(const T* b, std::int64_t row, std::int64_t steps, std::int64_t columns, float* out) {
  transpose_rows([=](std::int64_t j) { return b + j * row; }, columns, steps, out, kWidth);
  if (columns == kWidth) return;
  for (std::int64_t k = 0; k < steps; ++k) std::fill(out + k * kWidth + columns, out + (k + 1) * kWidth, 0.0f);
}

// out[k * kWidth + j] = b[k * row + j].
template <class T>
void pack(const T* b, std::int64_t row, std::int64_t steps, std::int64_t columns, float* out) {
  for (std::int64_t k = 0; k < steps; ++k) {
    for (std::int64_t j = 0; j < kWidth; j += kLanes) {
      hn::StoreU(load_float_part(b + k * row + j, columns - j), FloatTag(), out + k * kWidth + j);
    }
  }
}

template <bool kPairs, class T>
void panel_task(const Panels& p, const float* a, const T* b, const float* start, float* c, std::int64_t task) {
  const Shape& s = p.shape;
  HWY_ALIGN float packed[kPanel * kRun];
  const std::int64_t first = task % p.row_tasks() * p.task_rows, rows = std::min(p.task_rows, s.M - first);
  const std::int64_t left = task / p.row_tasks() * kPanel, right = std::min(left + kPanel, s.N);
  for (std::int64_t k = 0; k < std::max<std::int64_t>(s.K, 1); k += kRun) {
    const std::int64_t steps = std::min(kRun, s.K - k);
    for (std::int64_t j = left; j < right; j += kWidth) {
      float* to = packed + (j - left) * kRun;
      p.b_transposed ? pack_transposed(b + j * s.b_row + k, s.b_row, steps, std::min(kWidth, right - j), to)
                     : pack(b + k * s.b_row + j, s.b_row, steps, std::min(kWidth, right - j), to);
    }
    for (std::int64_t j = left; j < right; j += kWidth) {
      const std::int64_t at = first * s.c_row + j;
      any_panel<kPairs>({a + first * s.a_row + k, packed + (j - left) * kRun, start_of(start, c, k, at), c + at, s.a_row, 1, kWidth, s.c_row,
                         steps, right - j, true},
                        rows);
    }
  }
}

void panel_tasks(const Panels& p, const float* a, const void* b, const float* start, float* c, std::int64_t begin, std::int64_t end) {
  if (p.bf16_pairs) {
    for (std::int64_t task = begin; task < end; ++task) panel_task<true>(p, a, static_cast<const float*>(b), start, c, task);
    return;
  }
  with_storage(p.storage, [&]<class T>(const T*) {
    for (std::int64_t task = begin; task < end; ++task) panel_task<false>(p, a, static_cast<const T*>(b), start, c, task);
  });
}

void transpose_tasks(const float* in, std::int64_t rows, std::int64_t columns, std::int64_t stride, float* out, std::int64_t out_row,
                     std::int64_t begin, std::int64_t end) {
  const std::int64_t first = begin * kPanel, last = std::min(end * kPanel, columns);
  for (std::int64_t j = first; j < last; j += kPanel) {
    transpose_rows([=](std::int64_t i) { return in + i * stride + j; }, rows, std::min(kPanel, last - j), out + j * out_row, out_row);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::gemm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::gemm {

HWY_EXPORT(product_tasks);
HWY_EXPORT(panel_tasks);
HWY_EXPORT(transpose_tasks);

void cpu(const Shape& s, const float* a, const float* b, const float* start, float* c, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(product_tasks)(s, a, b, start, c, begin, end);
}

void panels(const Panels& p, const float* a, const void* b, const float* start, float* c, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(panel_tasks)(p, a, b, start, c, begin, end);
}

void transpose(const float* in, std::int64_t rows, std::int64_t columns, std::int64_t stride, float* out, std::int64_t out_row,
               std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(transpose_tasks)(in, rows, columns, stride, out, out_row, begin, end);
}

}  // namespace hymba::kernels::gemm
#endif  // HWY_ONCE
