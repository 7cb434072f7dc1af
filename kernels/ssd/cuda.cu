// SSD on the GPU in three passes, as README.md has them: each chunk's own state, the states from chunk to chunk, and
// the outputs of all chunks at once. Products are 64 x 64 tiles on the tensor cores at float32's precision.
#include "kernels/cuda/device.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/reduce.h"
#include "kernels/ssd/cuda.h"
#include "kernels/ssd/tile.h"

namespace hymba::kernels::ssd_detail {
namespace {

using namespace cuda;  // NOLINT

HYMBA_HOST_DEVICE int slices(std::int64_t width) { return static_cast<int>((width + kSide - 1) / kSide); }

// out [B, chunks, H, P, N] = sum over the chunk's steps of weight_r x_r (outer) B_r, a block 64 x 64 of it. Forward:
// weight exp(s_last - s_r) dt_r; backward: exp(s_r), with dy and C in the place of x and B (equation 6).
template <bool kBackward>
HYMBA_KERNEL(kThreads, 4)
chunk_kernel(Args<float> a, float* out_in, float* decay) {
  const int columns = slices(a.N);
  const Job job(a, slices(a.P) * columns);
  Shared<char> pool = shared_pool();
  const Steps steps = carve_steps(pool);
  const Shared<float> x = carve<float>(pool, kTileFloats), y = carve<float>(pool, kTileFloats);
  const int p0 = job.part / columns * kSide, n0 = job.part % columns * kSide;
  const std::int64_t group = job.h / (a.H / a.G);
  prepare_steps(a, job, steps);
  __syncthreads();
  fill(x, step_rows(kBackward ? a.dy : a.x, job, job.h, a.P), 0, p0,
       [&](int r) { return kBackward ? steps.decay_from_start(r) : steps.decay(kSide - 1, r) * steps.dt[r]; });
  fill(y, step_rows(kBackward ? a.Cm : a.Bm, job, group, a.N), 0, n0);
  __syncthreads();
  float sum[kTiles][4] = {};
  multiply_columns(sum, x + warp_row(), kStride, y, kStride, kSide / 8);
  const Global<float> out = Global<float>(out_in) + job.index * a.P * a.N;
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int p = p0 + row_of(j % 4), n = n0 + column_of(j / 4, j % 4);
    if (p < a.P && n < a.N) out[p * a.N + n] = sum[j / 4][j % 4];
  }
  if (!kBackward && job.part == 0 && threadIdx.x == 0)
    (Global<float>{decay})[job.index] = steps.decay_from_start(kSide - 1);
}

// From chunk to chunk, a thread an element of the state (coalesced; the chunks are few): what a chunk adds turns into
// the state before it. Backward: from the last chunk down, into the gradient of the state behind it.
template <bool kBackward>
HYMBA_KERNEL(kThreads, 8)
pass_kernel(Args<float> a, float* states_in, const float* decay_in, const float* start, float* end) {
  const std::int64_t size = a.P * a.N, i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.B * a.H * size) return;
  const std::int64_t head = i / size, b = head / a.H, h = head % a.H, chunks = (a.L + kSide - 1) / kSide;
  const Global<float> states = states_in, last = end;
  const Global<const float> decay = decay_in, first = start;
  float state = start ? first[i] : 0.0f;
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int64_t index = (b * chunks + (kBackward ? chunks - 1 - c : c)) * a.H + h;
    const Global<float> at = states + (index * size + i % size);
    const float own = *at;
    *at = state;
    state = fmaf(decay[index], state, own);
  }
  if (end) last[i] = state;
}

// Equation 5 for 64 features of a head: rows are steps.
HYMBA_KERNEL(kThreads, 2) output_kernel(Args<float> a, const float* states) {
  const Job job(a, slices(a.P));
  Shared<char> pool = shared_pool();
  const Steps steps = carve_steps(pool);
  const Shared<float> C = carve<float>(pool, kTileFloats), B = carve<float>(pool, kTileFloats);
  const Shared<float> state = carve<float>(pool, kTileFloats);
  const int p0 = job.part * kSide;
  const std::int64_t group = job.h / (a.H / a.G);
  const Matrix x = step_rows(a.x, job, job.h, a.P);
  prepare_steps(a, job, steps);
  float y[kTiles][4] = {}, pairs[kTiles][4] = {};
  for (int n0 = 0; n0 < a.N; n0 += kSide) {
    __syncthreads();
    fill(C, step_rows(a.Cm, job, group, a.N), 0, n0);
    fill(B, step_rows(a.Bm, job, group, a.N), 0, n0);
    fill(state, state_rows(a, states, job.index), p0, n0);
    __syncthreads();
    const Shared<float> own = C + warp_row() * kStride;
    multiply_rows(y, own, kStride, state, kStride, eights(a.N, n0));
    multiply_rows(pairs, own, kStride, B, kStride, eights(a.N, n0));
  }
  __syncthreads();
  fill(B, x, 0, p0, [&](int r) -> float { return steps.dt[r]; });  // u
  __syncthreads();
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int t = row_of(j % 4), r = column_of(j / 4, j % 4);
    y[j / 4][j % 4] *= steps.decay_from_start(t);
    pairs[j / 4][j % 4] *= r <= t ? steps.decay(t, r) : 0.0f;
  }
  multiply_held(y, pairs, B, kStride, kTiles);
  const float skip = a.D ? Global<const float>(a.D)[job.h] : 0.0f;
  const Global<float> out = Global<float>(a.y) + ((job.b * a.L + job.t0) * a.H + job.h) * a.P;
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int t = row_of(j % 4), p = p0 + column_of(j / 4, j % 4);
    if (t >= job.steps || p >= a.P) continue;
    const float direct = a.D ? skip * x.data[t * x.stride + p] : 0.0f;
    out[t * a.H * a.P + p] = y[j / 4][j % 4] + direct;
  }
}

constexpr int kSmallBytes = kStepBytes + 64;

unsigned blocks_of(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// One step, a warp a row of the state: h = exp(dt A) h + dt x_p B, y_p = h . C + D x_p.
HYMBA_KERNEL(kThreads, 8) step_kernel(Args<float> a) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= a.B * a.H * a.P) return;
  const std::int64_t p = row % a.P, h = row / a.P % a.H, b = row / a.P / a.H, group = h / (a.H / a.G);
  float slope;
  const float raw = (Global<const float>(a.dt.data) + (b * a.dt.sb + h * a.dt.si))[0];
  const float dt = step_size(a, raw + (a.bias ? Global<const float>(a.bias)[h] : 0.0f), &slope);
  const float decay = exp2_approx(dt * Global<const float>(a.A)[h] * kLog2e);
  const float x = (Global<const float>(a.x.data) + (b * a.x.sb + h * a.x.si))[p];
  const Global<const float> B = Global<const float>(a.Bm.data) + (b * a.Bm.sb + group * a.Bm.si), h0 = a.h0;
  const Global<const float> C = Global<const float>(a.Cm.data) + (b * a.Cm.sb + group * a.Cm.si);
  const Global<float> state = a.h;
  float y = 0;
  for (std::int64_t n = threadIdx.x % 32; n < a.N; n += 32) {
    const float old = a.h0 ? h0[row * a.N + n] : 0.0f, now = fmaf(decay, old, dt * x * B[n]);
    state[row * a.N + n] = now;
    y = fmaf(now, C[n], y);
  }
  y = warp_sum(y);
  if (threadIdx.x % 32 == 0) Global<float>(a.y)[row] = a.D ? fmaf(Global<const float>(a.D)[h], x, y) : y;
}

}  // namespace

const char* cuda_forward(const Args<float>& a, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t jobs = a.B * cuda_chunks(a) * a.H, elements = a.B * a.H * a.P * a.N;
  float* decay = a.states + jobs * a.P * a.N;
  const int tile = 4 * kTileFloats;
  const char* error = launch(chunk_kernel<false>, dim3(blocks_of(jobs * slices(a.P) * slices(a.N), 1)), kThreads,
                             kSmallBytes + 2 * tile, stream, a, a.states, decay);
  if (!error)
    error = launch(pass_kernel<false>, dim3(blocks_of(elements, kThreads)), kThreads, 0, stream, a, a.states, decay,
                   a.h0, a.h);
  if (error) return error;
  return launch(output_kernel, dim3(blocks_of(jobs * slices(a.P), 1)), kThreads, kSmallBytes + 3 * tile, stream, a,
                a.states);
}

const char* cuda_step(const Args<float>& a, void* stream) {
  return launch(step_kernel, dim3(blocks_of(a.B * a.H * a.P, kThreads / 32)), kThreads, 0, static_cast<Stream>(stream),
                a);
}

}  // namespace hymba::kernels::ssd_detail

#include "kernels/ssd/cuda_backward.cuh"
