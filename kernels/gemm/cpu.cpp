// Lanes run over columns. A block of rows times up to four vectors of columns stays in registers while k runs; elements
// of A are broadcast. Nothing is packed here: the small layers' weights fit the L2 cache as they are, and packing is
// what costs a library a quarter of its time at these sizes.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/gemm/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

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
  const float *a, *b;
  float* c;
  std::int64_t a_row, a_step, b_row, c_row, steps, columns;
  bool add;
};

template <int NV>
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
    float* c = p.c + row * p.c_row;
    FloatVec sum[M][NV];
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (int j = 0; j < NV; ++j) {
        sum[i][j] = p.add ? load_part(c + i * p.c_row + j * kLanes, p.columns - j * kLanes) : hn::Zero(d);
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
        for (int j = 0; j < NV; ++j) sum[i][j] = hn::MulAdd(x, v[j], sum[i][j]);
      }
    }
    HYMBA_UNROLL
    for (std::size_t i = 0; i < M; ++i) {
      HYMBA_UNROLL
      for (int j = 0; j < NV; ++j) store_part(sum[i][j], c + i * p.c_row + j * kLanes, p.columns - j * kLanes);
    }
  }
};

template <int NV>
HWY_INLINE void panel(const Panel& p, std::int64_t rows) {
  for_blocks<kBlock<NV>>(rows, Block<NV>{p});
}

void product_tasks(const Shape& s, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t first = task * kRows, rows = std::min(kRows, s.M - first);
    for (std::int64_t k = 0; k < std::max<std::int64_t>(s.K, 1); k += kSteps) {
      for (std::int64_t j = 0; j < s.N; j += kVectors * kLanes) {
        const Panel p{a + first * s.a_row + k * s.a_step, b + k * s.b_row + j, c + first * s.c_row + j, s.a_row, s.a_step,
                      s.b_row, s.c_row, std::min(kSteps, s.K - k), s.N - j, s.add || k > 0};
        const std::int64_t vectors = std::min<std::int64_t>(kVectors, (s.N - j + kLanes - 1) / kLanes);
        if (vectors == 1) panel<1>(p, rows);
        if (vectors == 2) panel<2>(p, rows);
        if constexpr (kVectors == 4) {
          if (vectors == 3) panel<3>(p, rows);
          if (vectors == 4) panel<4>(p, rows);
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::gemm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::gemm {

HWY_EXPORT(product_tasks);

void cpu(const Shape& s, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(product_tasks)(s, a, b, c, begin, end);
}

}  // namespace hymba::kernels::gemm
#endif  // HWY_ONCE
