// What the heads of a group share in one chunk: rows and tiles of B and C, and the products of every pair of steps, a
// block [r][T] of earlier steps r by the steps of a tile. Compiled once per instruction set.
#if defined(HYMBA_KERNELS_SSD_GROUP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_SSD_GROUP_INL_H
#undef HYMBA_KERNELS_SSD_GROUP_INL_H
#else
#define HYMBA_KERNELS_SSD_GROUP_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/ssd/chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::ssd_detail {
namespace HWY_NAMESPACE {

// Two vectors of steps a tile halve the broadcasts; a tile of one wastes less on pairs that the causal order hides.
inline bool two_vectors(const Args<float>& a) { return std::min(a.chunk, a.L) >= 4 * kLanes && a.P * a.N >= 1024; }

// What the heads of a group share in one chunk: B by rows, C by tiles, and C_t . B_r for every pair r <= t.
template <std::size_t NV>
struct Group {
  static constexpr std::int64_t T = NV * kLanes;
  const Args<float>& a;
  const std::int64_t longest, width;
  float *B_rows, *C_rows, *C_T, *pairs;  // [steps][width] twice, [tiles][N][T], [tiles][steps][T]

  static std::int64_t longest_of(const Args<float>& a) { return (std::min(a.chunk, a.L) + T - 1) / T * T; }
  static std::int64_t floats(const Args<float>& a) {
    const std::int64_t steps = longest_of(a);
    return steps * (2 * padded(a.N) + a.N + steps) + 64;
  }
  Group(const Args<float>& args, Scratch& scratch) : a(args), longest(longest_of(args)), width(padded(args.N)) {
    B_rows = scratch.take(longest * width);
    C_rows = scratch.take(longest * width);
    C_T = scratch.take(longest * a.N);
    pairs = scratch.take(longest * longest);
  }
  float* C_tile(std::int64_t tile) const { return C_T + tile * a.N * T; }
  float* pair_tile(std::int64_t tile) const { return pairs + tile * longest * T; }
  // Steps that the steps of a tile can see.
  static std::int64_t seen(const Chunk& k, std::int64_t tile) { return std::min(k.steps, (tile + 1) * T); }

  void prepare(const Chunk& k, std::int64_t g) {
    pack_rows(k, a.Bm, g, a.N, width, B_rows);
    pack_rows(k, a.Cm, g, a.N, width, C_rows);
    for (std::int64_t i = 0; i < k.padded_steps / T; ++i) {
      transpose_tile(C_rows + i * T * width, width, a.N, T, C_tile(i));
      products<NV>(C_tile(i), a.N, B_rows, width, seen(k, i), pair_tile(i));
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_SSD_GROUP_INL_H
