// What the CUDA kernels of SSD share: the steps of a chunk, tiles of 64 x 64 in shared memory, and how they are filled.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/products.h"
#include "kernels/ssd/cuda.h"

namespace hymba::kernels::ssd_detail {

constexpr int kSide = 64, kStride = kSide + 4, kThreads = 128, kTiles = kSide / 8;
constexpr int kTileFloats = kSide * kStride;

// One (sequence, chunk, head) of a block; `part` numbers the blocks that share it.
struct Job {
  std::int64_t b, chunk, h, t0, index;
  int steps, part;

  HYMBA_DEVICE Job(const Args<float>& a, int parts) {
    std::int64_t i = blockIdx.x;
    part = static_cast<int>(i % parts), i /= parts;
    index = i;
    const std::int64_t chunks = (a.L + kSide - 1) / kSide;
    h = i % a.H, chunk = i / a.H % chunks, b = i / a.H / chunks;
    t0 = chunk * kSide;
    steps = a.L - t0 < kSide ? static_cast<int>(a.L - t0) : kSide;
  }
};

// dt after bias, softplus and clamp (equation 1); its derivative by the raw dt.
HYMBA_DEVICE float step_size(const Args<float>& a, float raw, float* slope) {
  const float dt = a.softplus ? cuda::softplus(raw) : raw;
  *slope = dt < a.dt_min || dt > a.dt_max ? 0.0f : a.softplus ? cuda::sigmoid(raw) : 1.0f;
  return fminf(fmaxf(dt, a.dt_min), a.dt_max);
}

// The chunk's steps: dt, and the sums s of dt A (base 2) as two floats, so that differences keep their digits.
struct Steps {
  cuda::Shared<float> dt, high, low;
  HYMBA_DEVICE float decay(int to, int from) const {  // exp(s_to - s_from)
    return cuda::exp2_approx((high[to] - high[from]) + (low[to] - low[from]));
  }
  HYMBA_DEVICE float decay_from_start(int to) const { return cuda::exp2_approx(high[to] + low[to]); }
};

HYMBA_DEVICE Steps carve_steps(cuda::Shared<char>& pool) {
  Steps s;
  s.dt = cuda::carve<float>(pool, kSide), s.high = cuda::carve<float>(pool, kSide);
  s.low = cuda::carve<float>(pool, kSide);
  return s;
}
constexpr int kStepBytes = 3 * kSide * 4;

// By the first warp, two steps a lane; the caller's barrier publishes it. Steps beyond the end have dt = 0.
HYMBA_DEVICE void prepare_steps(const Args<float>& a, const Job& job, const Steps& steps) {
  if (threadIdx.x >= 32) return;
  const int lane = static_cast<int>(threadIdx.x);
  const cuda::Global<const float> raw =
      cuda::Global<const float>(a.dt.data) + (job.b * a.dt.sb + job.t0 * a.dt.sl + job.h * a.dt.si);
  const float bias = a.bias ? cuda::Global<const float>(a.bias)[job.h] : 0.0f;
  const double A = static_cast<double>(cuda::Global<const float>(a.A)[job.h]) * 1.4426950408889634;
  double own[2], sum = 0;
  for (int i = 0; i < 2; ++i) {
    const int t = 2 * lane + i;
    float slope;
    const float dt = t < job.steps ? step_size(a, raw[t * a.dt.sl] + bias, &slope) : 0.0f;
    steps.dt[t] = dt;
    own[i] = sum += dt * A;
  }
  double before = sum;
  for (int d = 1; d < 32; d *= 2) {
    const double other = __shfl_up_sync(cuda::kAllLanes, before, d);
    if (lane >= d) before += other;
  }
  before -= sum;
  for (int i = 0; i < 2; ++i) {
    const double s = before + own[i];
    const float high = static_cast<float>(s);
    steps.high[2 * lane + i] = high;
    steps.low[2 * lane + i] = static_cast<float>(s - high);
  }
}

// Rows of a matrix in global memory: element (r, c) at data[r * stride + c], r < rows, c < columns; others are zeros.
struct Matrix {
  cuda::Global<const float> data;
  std::int64_t stride;
  int rows, columns;
};

HYMBA_DEVICE Matrix step_rows(const Rows<float>& from, const Job& job, std::int64_t i, std::int64_t columns) {
  return {cuda::Global<const float>(from.data) + (job.b * from.sb + job.t0 * from.sl + i * from.si), from.sl, job.steps,
          static_cast<int>(columns)};
}

// [P][N] number `index` of an array of states.
HYMBA_DEVICE Matrix state_rows(const Args<float>& a, const float* states, std::int64_t index) {
  return {cuda::Global<const float>(states) + index * a.P * a.N, a.N, static_cast<int>(a.P), static_cast<int>(a.N)};
}

// Fills a 64 x 64 tile from row r0 and column c0 on, with row r times scale(r). Lanes lie along the columns.
template <class F>
HYMBA_DEVICE void fill(const cuda::Shared<float>& tile, const Matrix& from, int r0, int c0, const F& scale) {
  const int column = static_cast<int>(threadIdx.x) % kSide, c = c0 + column;
#pragma unroll 8
  for (int r = static_cast<int>(threadIdx.x) / kSide; r < kSide; r += kThreads / kSide) {
    const bool exists = r0 + r < from.rows && c < from.columns;
    tile[r * kStride + column] = exists ? from.data[(r0 + r) * from.stride + c] * scale(r) : 0.0f;
  }
}

HYMBA_DEVICE void fill(const cuda::Shared<float>& tile, const Matrix& from, int r0, int c0) {
  fill(tile, from, r0, c0, [](int) { return 1.0f; });
}

// Groups of eight features from `first` on, 8 at most.
HYMBA_HOST_DEVICE int eights(std::int64_t width, int first) {
  const int left = static_cast<int>(width) - first;
  return left >= kSide ? kSide / 8 : (left + 7) / 8;
}

// Row and column of element i of tile j of a warp's accumulators.
HYMBA_DEVICE int warp_row() { return static_cast<int>(threadIdx.x) / 32 * 16; }
HYMBA_DEVICE int row_of(int i) { return warp_row() + cuda::lane_row() + i / 2 * 8; }
HYMBA_DEVICE int column_of(int j, int i) { return j * 8 + 2 * cuda::lane_column() + i % 2; }

// Sum over the four lanes that share the rows.
HYMBA_DEVICE float quad_sum(float x) {
  x += __shfl_xor_sync(cuda::kAllLanes, x, 1);
  return x + __shfl_xor_sync(cuda::kAllLanes, x, 2);
}

}  // namespace hymba::kernels::ssd_detail
