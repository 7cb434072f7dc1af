// Backward of SSD (README.md, equations 6 to 14), after the gradients of the states have gone from chunk to chunk: one
// kernel whose rows are the steps t (dC and the row sums of E), two whose rows are the steps r (dB; du, dx and the
// column sums), one that turns the sums into those of dt, A and D. Included by cuda.cu.
#pragma once

namespace hymba::kernels::ssd_detail {
namespace {

// Per (sequence, chunk, head): 64 numbers each of rows (what E and the state give ds_t), columns (what they take),
// e (equation 10), x . du and x . dy.
struct Statistics {
  float *rows, *columns, *e, *x_du, *x_dy;
};

// The pair of tiles x, y filled between barriers, with row scales.
template <class F, class G>
HYMBA_DEVICE void refill(const Shared<float>& x, const Matrix& from_x, int rx, int cx, const F& scale_x,
                         const Shared<float>& y, const Matrix& from_y, int ry, int cy, const G& scale_y) {
  __syncthreads();
  fill(x, from_x, rx, cx, scale_x);
  fill(y, from_y, ry, cy, scale_y);
  __syncthreads();
}

HYMBA_DEVICE float one(int) { return 1.0f; }

// The inputs of a job, and the scores of 64 x 64 pairs of steps; rows t or (transposed) r.
struct Inputs {
  Matrix x, dy, B, C;
  Steps steps;
  Shared<float> left, right;

  HYMBA_DEVICE Inputs(const Args<float>& a, const Job& job, Shared<char>& pool)
      : x(step_rows(a.x, job, job.h, a.P)),
        dy(step_rows(a.dy, job, job.h, a.P)),
        B(step_rows(a.Bm, job, job.h / (a.H / a.G), a.N)),
        C(step_rows(a.Cm, job, job.h / (a.H / a.G), a.N)),
        steps(carve_steps(pool)),
        left(carve<float>(pool, kTileFloats)),
        right(carve<float>(pool, kTileFloats)) {}

  HYMBA_DEVICE float dt(int r) const { return steps.dt[r]; }

  // slope = dy . u over all pairs.
  template <bool kTransposed>
  HYMBA_DEVICE void add_slopes(const Args<float>& a, float (&slope)[kTiles][4]) const {
    for (int p0 = 0; p0 < a.P; p0 += kSide) {
      refill(left, dy, 0, p0, one, right, x, 0, p0, [&](int r) { return dt(r); });
      multiply_rows(slope, (kTransposed ? right : left) + warp_row() * kStride, kStride, kTransposed ? left : right,
                    kStride, eights(a.P, p0));
    }
  }

  // pairs = C . B
  template <bool kTransposed>
  HYMBA_DEVICE void add_pairs(const Args<float>& a, float (&pairs)[kTiles][4]) const {
    for (int n0 = 0; n0 < a.N; n0 += kSide) {
      refill(left, C, 0, n0, one, right, B, 0, n0, one);
      multiply_rows(pairs, (kTransposed ? right : left) + warp_row() * kStride, kStride, kTransposed ? left : right,
                    kStride, eights(a.N, n0));
    }
  }
};

// Adds each row's sum of f(element) to `sums` (rows g and g + 8 of the lane); complete in every lane of a row. The
// elements are numbered 4 j + i.
template <class F>
HYMBA_DEVICE void add_rows(float (&sums)[2], const F& f) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) sum += f(j / 2 * 4 + 2 * i + j % 2);
    sums[i] += quad_sum(sum);
  }
}

// Writes the sums of rows g and g + 8.
HYMBA_DEVICE void write_rows(float* to_in, const Job& job, const float (&sums)[2]) {
  if (lane_column() != 0) return;
  const Global<float> to = to_in;
  for (int i = 0; i < 2; ++i) to[job.index * kSide + row_of(2 * i)] = sums[i];
}

// Rows t: dC [B, L, H, N] of the head (equation 7), and the row part of ds.
HYMBA_KERNEL(kThreads, 2) row_kernel(Args<float> a, const float* states, float* dC_in, Statistics out) {
  const Job job(a, 1);
  Shared<char> pool = shared_pool();
  const Inputs in(a, job, pool);
  prepare_steps(a, job, in.steps);
  float W[kTiles][4] = {}, E[kTiles][4] = {}, sums[2] = {};
  in.add_slopes<false>(a, W);
  in.add_pairs<false>(a, E);
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int t = row_of(j % 4), r = column_of(j / 4, j % 4);
    float& w = W[j / 4][j % 4];
    w *= r <= t ? in.steps.decay(t, r) : 0.0f;
    E[j / 4][j % 4] *= r < t ? w : 0.0f;
  }
  add_rows(sums, [&](int j) { return E[j / 4][j % 4]; });
  const Global<float> dC = Global<float>(dC_in) + ((job.b * a.L + job.t0) * a.H + job.h) * a.N;
  for (int n0 = 0; n0 < a.N; n0 += kSide) {
    float sum[kTiles][4] = {};
    for (int p0 = 0; p0 < a.P; p0 += kSide) {
      refill(in.left, in.dy, 0, p0, one, in.right, state_rows(a, states, job.index), p0, n0, one);
      multiply(sum, in.left + warp_row() * kStride, kStride, in.right, kStride, eights(a.P, p0));
    }
    refill(in.left, in.C, 0, n0, one, in.right, in.B, 0, n0, one);
#pragma unroll
    for (int j = 0; j < 4 * kTiles; ++j) sum[j / 4][j % 4] *= in.steps.decay_from_start(row_of(j % 4));
    add_rows(sums,
             [&](int j) { return sum[j / 4][j % 4] * in.left[row_of(j % 4) * kStride + column_of(j / 4, j % 4)]; });
    multiply_held(sum, W, in.right, kStride, kTiles);
#pragma unroll
    for (int j = 0; j < 4 * kTiles; ++j) {
      const int t = row_of(j % 4), n = n0 + column_of(j / 4, j % 4);
      if (t < job.steps && n < a.N) dC[t * a.H * a.N + n] = sum[j / 4][j % 4];
    }
  }
  write_rows(out.rows, job, sums);
}

// Rows r: dB [B, L, H, N] of the head (equation 8).
HYMBA_KERNEL(kThreads, 2) input_kernel(Args<float> a, const float* dstates, float* dB_in) {
  const Job job(a, 1);
  Shared<char> pool = shared_pool();
  const Inputs in(a, job, pool);
  prepare_steps(a, job, in.steps);
  float W[kTiles][4] = {};
  in.add_slopes<true>(a, W);
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int r = row_of(j % 4), t = column_of(j / 4, j % 4);
    W[j / 4][j % 4] *= r <= t ? in.steps.decay(t, r) : 0.0f;
  }
  const Global<float> dB = Global<float>(dB_in) + ((job.b * a.L + job.t0) * a.H + job.h) * a.N;
  for (int n0 = 0; n0 < a.N; n0 += kSide) {
    float sum[kTiles][4] = {};
    for (int p0 = 0; p0 < a.P; p0 += kSide) {
      refill(
          in.left, in.x, 0, p0, [&](int r) { return in.dt(r); }, in.right, state_rows(a, dstates, job.index), p0, n0,
          one);
      multiply(sum, in.left + warp_row() * kStride, kStride, in.right, kStride, eights(a.P, p0));
    }
    refill(in.left, in.C, 0, n0, one, in.right, in.B, 0, n0, one);
#pragma unroll
    for (int j = 0; j < 4 * kTiles; ++j) sum[j / 4][j % 4] *= in.steps.decay(kSide - 1, row_of(j % 4));
    multiply_held(sum, W, in.left, kStride, kTiles);
#pragma unroll
    for (int j = 0; j < 4 * kTiles; ++j) {
      const int r = row_of(j % 4), n = n0 + column_of(j / 4, j % 4);
      if (r < job.steps && n < a.N) dB[r * a.H * a.N + n] = sum[j / 4][j % 4];
    }
  }
}

// What the columns of a step give: e, x . du, x . dy.
struct ColumnSums {
  float e[2] = {}, x_du[2] = {}, x_dy[2] = {};
};

// 64 features of du (equation 9) from p0 on, and dx (13). K: M (C . B), transposed.
HYMBA_DEVICE void output_gradient(const Args<float>& a, const Job& job, const Inputs& in, const float* dstates, int p0,
                                  const float (&K)[kTiles][4], ColumnSums& sums) {
  float du[kTiles][4] = {};
  for (int n0 = 0; n0 < a.N; n0 += kSide) {
    refill(in.left, in.B, 0, n0, one, in.right, state_rows(a, dstates, job.index), p0, n0, one);
    multiply_rows(du, in.left + warp_row() * kStride, kStride, in.right, kStride, eights(a.N, n0));
  }
  refill(in.left, in.dy, 0, p0, one, in.right, in.x, 0, p0, one);
  const auto x_at = [&](int j) { return in.right[row_of(j % 4) * kStride + column_of(j / 4, j % 4)]; };
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) du[j / 4][j % 4] *= in.steps.decay(kSide - 1, row_of(j % 4));
  add_rows(sums.e, [&](int j) { return x_at(j) * du[j / 4][j % 4] * in.dt(row_of(j % 4)); });
  multiply_held(du, K, in.left, kStride, kTiles);
  add_rows(sums.x_du, [&](int j) { return x_at(j) * du[j / 4][j % 4]; });
  const float skip = a.D ? Global<const float>(a.D)[job.h] : 0.0f;
  const Global<float> dx = Global<float>(a.dx) + ((job.b * a.L + job.t0) * a.H + job.h) * a.P;
#pragma unroll
  for (int j = 0; j < 4 * kTiles; ++j) {
    const int r = row_of(j % 4), column = column_of(j / 4, j % 4);
    const float dy = in.left[r * kStride + column];
    if (r < job.steps && p0 + column < a.P)
      dx[r * a.H * a.P + p0 + column] = fmaf(in.dt(r), du[j / 4][j % 4], skip * dy);
  }
  add_rows(sums.x_dy, [&](int j) { return x_at(j) * in.left[row_of(j % 4) * kStride + column_of(j / 4, j % 4)]; });
}

// Rows r: du, dx and what the columns take from ds.
HYMBA_KERNEL(kThreads, 2) column_kernel(Args<float> a, const float* dstates, Statistics out) {
  const Job job(a, 1);
  Shared<char> pool = shared_pool();
  const Inputs in(a, job, pool);
  prepare_steps(a, job, in.steps);
  float slope[kTiles][4] = {}, K[kTiles][4] = {}, taken[2] = {};
  in.add_slopes<true>(a, slope);
  in.add_pairs<true>(a, K);
  add_rows(taken, [&](int j) {
    const int r = row_of(j % 4), t = column_of(j / 4, j % 4);
    float& k = K[j / 4][j % 4];
    k *= r <= t ? in.steps.decay(t, r) : 0.0f;
    return r < t ? slope[j / 4][j % 4] * k : 0.0f;  // E
  });
  ColumnSums sums;
  for (int p0 = 0; p0 < a.P; p0 += kSide) output_gradient(a, job, in, dstates, p0, K, sums);
  for (int i = 0; i < 2; ++i) taken[i] += sums.e[i];
  write_rows(out.columns, job, taken);
  write_rows(out.e, job, sums.e);
  write_rows(out.x_du, job, sums.x_du);
  write_rows(out.x_dy, job, sums.x_dy);
}

HYMBA_DEVICE float block_sum(float x, const Shared<float>& scratch) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < kThreads / 32; ++w) sum += scratch[w];
  return sum;
}

// Equations 11 to 14: d dt of every step, and a chunk's part of dA, dD and d dt_bias: [B * chunks, H] each.
HYMBA_KERNEL(kThreads, 8)
finish_kernel(Args<float> a, Statistics in, const float* states, const float* dstates, float* parts_in) {
  const Job job(a, 1);
  Shared<char> pool = shared_pool();
  const Steps steps = carve_steps(pool);
  const Shared<float> scratch = carve<float>(pool, kThreads / 32);
  prepare_steps(a, job, steps);
  const std::int64_t size = a.P * a.N;
  const Global<const float> state = Global<const float>(states) + job.index * size;
  const Global<const float> dstate = Global<const float>(dstates) + job.index * size;
  float dot = 0;
  for (std::int64_t i = threadIdx.x; i < size; i += kThreads) dot = fmaf(state[i], dstate[i], dot);
  dot = block_sum(dot, scratch);  // its barrier publishes the steps, too
  if (threadIdx.x >= 32) return;
  const int lane = static_cast<int>(threadIdx.x);
  const auto at = [&](const float* p, int i) { return Global<const float>(p)[job.index * kSide + 2 * lane + i]; };
  float ds[2], sum = 0;
  for (int i = 1; i >= 0; --i) ds[i] = sum += at(in.rows, i) - at(in.columns, i);
  float behind = sum;
  for (int d = 1; d < 32; d *= 2) {
    const float other = __shfl_down_sync(kAllLanes, behind, d);
    if (lane + d < 32) behind += other;
  }
  const float all = warp_sum(at(in.e, 0) + at(in.e, 1)) + steps.decay_from_start(kSide - 1) * dot;
  const Global<const float> raw =
      Global<const float>(a.dt.data) + (job.b * a.dt.sb + job.t0 * a.dt.sl + job.h * a.dt.si);
  const float bias = a.bias ? Global<const float>(a.bias)[job.h] : 0.0f, A = Global<const float>(a.A)[job.h];
  const Global<float> ddt = Global<float>(a.ddt) + ((job.b * a.L + job.t0) * a.H + job.h);
  float dA = 0, dD = 0, dbias = 0;
  for (int i = 0; i < 2; ++i) {
    const int t = 2 * lane + i;
    if (t >= job.steps) continue;
    float slope;
    const float dt = step_size(a, raw[t * a.dt.sl] + bias, &slope), d_dtA = ds[i] + (behind - sum) + all;
    const float d_raw = slope * fmaf(A, d_dtA, at(in.x_du, i));
    ddt[t * a.H] = d_raw;
    dA = fmaf(dt, d_dtA, dA), dD += at(in.x_dy, i), dbias += d_raw;
  }
  dA = warp_sum(dA), dD = warp_sum(dD), dbias = warp_sum(dbias);
  const std::int64_t jobs = gridDim.x;
  const Global<float> parts = Global<float>(parts_in) + job.index;
  if (lane == 0) parts[0] = dA, parts[jobs] = dD, parts[2 * jobs] = dbias;
}

// out [B, L, G, N]: the sum over the group's heads of parts [B, L, H, N], in order.
HYMBA_KERNEL(kThreads, 8) group_kernel(Args<float> a, const float* parts_in, float* out_in) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.B * a.L * a.G * a.N) return;
  const std::int64_t heads = a.H / a.G, n = i % a.N, group = i / a.N;  // group: of all rows' groups
  const Global<const float> parts = parts_in;
  const Global<float> out = out_in;
  float sum = 0;
  for (std::int64_t h = 0; h < heads; ++h) sum += parts[(group * heads + h) * a.N + n];
  out[i] = sum;
}

}  // namespace

const char* cuda_backward(const Args<float>& a, float* workspace, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t jobs = a.B * cuda_chunks(a) * a.H, size = a.P * a.N, rows = a.B * a.L * a.H * a.N;
  float *dstates = workspace, *dC = dstates + jobs * size, *dB = dC + rows, *more = dB + rows;
  const Statistics s{more, more + jobs * kSide, more + 2 * jobs * kSide, more + 3 * jobs * kSide,
                     more + 4 * jobs * kSide};
  float* parts = more + 5 * jobs * kSide;
  const float* decay = a.states + jobs * size;
  const int tiles = kSmallBytes + 8 * kTileFloats;
  const dim3 each(static_cast<unsigned>(jobs)), elements(blocks_of(a.B * a.H * size, kThreads));
  const dim3 groups(blocks_of(a.B * a.L * a.G * a.N, kThreads));
  float* none = nullptr;
  const char* error = launch(chunk_kernel<true>, dim3(static_cast<unsigned>(jobs * slices(a.P) * slices(a.N))),
                             kThreads, tiles, stream, a, dstates, none);
  if (!error) error = launch(pass_kernel<true>, elements, kThreads, 0, stream, a, dstates, decay, a.dh, a.dh0);
  if (!error) error = launch(row_kernel, each, kThreads, tiles, stream, a, a.states, dC, s);
  if (!error) error = launch(input_kernel, each, kThreads, tiles, stream, a, dstates, dB);
  if (!error) error = launch(column_kernel, each, kThreads, tiles, stream, a, dstates, s);
  if (!error) error = launch(finish_kernel, each, kThreads, kSmallBytes, stream, a, s, a.states, dstates, parts);
  if (!error) error = launch(group_kernel, groups, kThreads, 0, stream, a, dC, a.dC);
  if (!error) error = launch(group_kernel, groups, kThreads, 0, stream, a, dB, a.dB);
  const std::int64_t sums = a.B * cuda_chunks(a);
  if (!error) error = sum_parts(parts, sums, a.H, a.dA, stream);
  if (!error) error = sum_parts(parts + jobs, sums, a.H, a.dD, stream);
  return error ? error : sum_parts(parts + 2 * jobs, sums, a.H, a.dbias, stream);
}

}  // namespace hymba::kernels::ssd_detail
