// Backward of the scan: chunks from the last to the first. Each chunk is scanned again from its kept state, then the
// gradient of the state is scanned back over the same lanes. Included by cuda.cu.
#pragma once

namespace hymba::kernels::scan {
namespace {

constexpr int kWarps = kThreads / 32;

// Partial sums: dA [B, E, N], dD and dbias [B, E]; dB and dC [blocks of a group, B, L, G, N].
struct Partials {
  float *A = nullptr, *D = nullptr, *dt_bias = nullptr, *B = nullptr, *C = nullptr;
};

struct BackwardTiles {
  Shared<float> u, dt, gy, B, C;  // gy: gradient of y before the gate; B and C turn into their own gradients
  Shared<float> warps;            // [2][B or C][warp][128]: what the warps' channels add
  Shared<float> carry, dA;        // [16][N]: gradient of the state behind the chunk, dA: lane 0 of the channel's warp
};

HYMBA_DEVICE BackwardTiles backward_tiles(int states) {
  Shared<char> pool = shared_pool();
  BackwardTiles t;
  t.u = carve<float>(pool, kTileFloats), t.dt = carve<float>(pool, kTileFloats), t.gy = carve<float>(pool, kTileFloats);
  t.B = carve<float>(pool, kTileFloats), t.C = carve<float>(pool, kTileFloats);
  t.warps = carve<float>(pool, 2 * 2 * kWarps * kSteps);
  t.carry = carve<float>(pool, kColumns * states), t.dA = carve<float>(pool, kColumns * states);
  return t;
}

// Sums over the states so far, of one channel and the lane's steps: ddt by way of the decay, d(dt u), and y.
struct ChannelSums {
  float decay[kItems], input[kItems], y[kItems];
};

// One state of one channel: adds to the sums and to dB, dC of the lane's steps.
HYMBA_DEVICE void state_gradient(const BackwardTiles& tiles, int column, int slot, float A, float before,
                                 const float (&B)[kItems], const float (&C)[kItems], ChannelSums& sums,
                                 float (&dB)[kItems], float (&dC)[kItems]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float dt[kItems], w[kItems], gy[kItems], a[kItems], h[kItems], input[kItems];
  read_items(tiles.dt, column, dt);
  read_items(tiles.u, column, w);
  read_items(tiles.gy, column, gy);
#pragma unroll
  for (int i = 0; i < kItems; ++i) w[i] *= dt[i], input[i] = w[i] * B[i];
  const float h_in = scan_state(before, A * kLog2e, dt, input, a, h);
  // R: gradient of h behind a step from later steps; a step maps it to a (R + gy C).
  Affine own;
#pragma unroll
  for (int i = kItems - 1; i >= 0; --i) own = then(own, {a[i], a[i] * gy[i] * C[i]});
  float carry = lane == 0 ? static_cast<float>(tiles.carry[slot]) : 0.0f;
  carry = __shfl_sync(kAllLanes, carry, 0);
  float R = maps_behind(own)(carry), dA = 0;
#pragma unroll
  for (int i = kItems - 1; i >= 0; --i) {
    const float G = fmaf(gy[i], C[i], R);
    sums.y[i] = fmaf(h[i], C[i], sums.y[i]);
    dC[i] = fmaf(gy[i], h[i], dC[i]);
    dB[i] = fmaf(G, w[i], dB[i]);
    sums.input[i] = fmaf(G, B[i], sums.input[i]);
    R = G * a[i];
    const float d_decay = R * (i > 0 ? h[i > 0 ? i - 1 : 0] : h_in);  // of dt A
    sums.decay[i] = fmaf(d_decay, A, sums.decay[i]);
    dA = fmaf(d_decay, dt[i], dA);
  }
  dA = warp_sum(dA);
  if (lane == 0) tiles.carry[slot] = R, tiles.dA[slot] += dA;
}

// All states [n0, n0 + count) of the warp's channels. Leaves dB and dC of the block in tiles.B and tiles.C.
HYMBA_DEVICE void tile_gradients(const Shape& s, const Place& at, const BackwardTiles& tiles, int n0, int count,
                                 const Global<const float>& A, const Global<const float>& before,
                                 ChannelSums (&sums)[kWarpChannels]) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x) / 32;
  const int states = static_cast<int>(s.states);
#pragma unroll 1
  for (int n = 0; n < count; ++n) {
    float B[kItems], C[kItems], dB[kItems] = {}, dC[kItems] = {};
    read_items(tiles.B, n, B);
    read_items(tiles.C, n, C);
#pragma unroll
    for (int c = 0; c < kWarpChannels; ++c) {
      const int column = warp * kWarpChannels + c, slot = column * states + n0 + n;
      if (column < at.width) state_gradient(tiles, column, slot, A[slot], before[slot], B, C, sums[c], dB, dC);
    }
    const Shared<float> exchange = tiles.warps + n % 2 * 2 * kWarps * kSteps;
    store4(exchange + (warp * kSteps + 4 * lane), make_float4(dB[0], dB[1], dB[2], dB[3]));
    store4(exchange + ((kWarps + warp) * kSteps + 4 * lane), make_float4(dC[0], dC[1], dC[2], dC[3]));
    __syncthreads();
    float sum_B = 0, sum_C = 0;
    const int step = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      sum_B += exchange[w * kSteps + step];
      sum_C += exchange[(kWarps + w) * kSteps + step];
    }
    tiles.B[tile_at(step, n)] = sum_B;
    tiles.C[tile_at(step, n)] = sum_C;
  }
}

// dB and dC of the block, coalesced over states.
HYMBA_DEVICE void write_tile(const Shape& s, const Place& at, const BackwardTiles& tiles, const Partials& parts,
                             std::int64_t t0, int steps, int n0, int count) {
  const int column = walk_column();
  if (column >= count) return;
  const std::int64_t row = s.groups * s.states;
  const std::int64_t base = ((at.part * s.batch + at.b) * s.length + t0) * row + at.group * s.states + n0 + column;
  const Global<float> dB = parts.B, dC = parts.C;
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k);
    if (step >= steps) break;
    dB[base + step * row] = tiles.B[tile_at(step, column)];
    dC[base + step * row] = tiles.C[tile_at(step, column)];
  }
}

// From the sums to du and ddt, which replace u and dt in shared memory (y replaces gy); adds to dD and d dt_bias.
HYMBA_DEVICE void finish_channels(const Shape& s, const Inputs<float>& in, const Place& at, const BackwardTiles& tiles,
                                  int steps, const ChannelSums (&sums)[kWarpChannels], float (&dD)[kWarpChannels],
                                  float (&dbias)[kWarpChannels]) {
  const int lane = static_cast<int>(threadIdx.x % 32), first = static_cast<int>(threadIdx.x) / 32 * kWarpChannels;
#pragma unroll
  for (int c = 0; c < kWarpChannels; ++c) {
    if (first + c >= at.width) continue;
    float u[kItems], dt[kItems], y[kItems];
    read_items(tiles.u, first + c, u);
    read_items(tiles.dt, first + c, dt);
    read_items(tiles.gy, first + c, y);
    const float skip = in.D ? Global<const float>(in.D)[at.channel0 + first + c] : 0.0f;
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const float gy = y[i], slope = s.softplus ? -expm1f(-dt[i]) : 1.0f;  // sigmoid of the raw step
      const float ddt = slope * fmaf(sums[c].input[i], u[i], sums[c].decay[i]);
      dD[c] = fmaf(gy, u[i], dD[c]);
      if (kItems * lane + i < steps) dbias[c] += ddt;
      y[i] = fmaf(skip, u[i], sums[c].y[i]);
      u[i] = fmaf(sums[c].input[i], dt[i], skip * gy);
      dt[i] = ddt;
    }
    write_items(tiles.u, first + c, u);
    write_items(tiles.dt, first + c, dt);
    write_items(tiles.gy, first + c, y);
  }
}

// gy = dy silu(z), in the coalesced walk, over what this thread has copied itself.
HYMBA_DEVICE void apply_gate(const Inputs<float>& in, const BackwardTiles& tiles, const Place& at, std::int64_t t0,
                             int steps) {
  const int column = walk_column();
  if (!in.z.data || column >= at.width) return;
  const Global<const float> z = row_of(in.z, at.b, t0, at.channel0 + column);
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k);
    if (step >= steps) break;
    const float gate = z[step * in.z.row_stride];
    tiles.gy[tile_at(step, column)] *= gate * sigmoid(gate);
  }
}

HYMBA_DEVICE void write_gradients(const Inputs<float>& in, const Gradients<float>& grad, const BackwardTiles& tiles,
                                  const Place& at, std::int64_t t0, int steps) {
  const int column = walk_column();
  if (column >= at.width) return;
  const std::int64_t channel = at.channel0 + column;
  const Global<float> du = row_of(grad.u, at.b, t0, channel), ddt = row_of(grad.dt, at.b, t0, channel);
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k);
    if (step >= steps) break;
    du[step * grad.u.row_stride] = tiles.u[tile_at(step, column)];
    ddt[step * grad.dt.row_stride] = tiles.dt[tile_at(step, column)];
    if (in.z.data) {
      const float z = row_of(in.z, at.b, t0 + step, channel)[0], sig = sigmoid(z);
      const float dy = row_of(grad.y, at.b, t0 + step, channel)[0];
      row_of(grad.z, at.b, t0 + step, channel)[0] =
          dy * tiles.gy[tile_at(step, column)] * sig * fmaf(z, 1.0f - sig, 1.0f);
    }
  }
}

// carry and dA at the start (dh or zeros; zeros), or their results at the end; lane 0 of the channels' warp.
HYMBA_DEVICE void move_carries(const Shape& s, const Place& at, const BackwardTiles& tiles, const float* dh, float* dh0,
                               float* dA, bool start) {
  if (threadIdx.x % 32 != 0) return;
  const int states = static_cast<int>(s.states), first = static_cast<int>(threadIdx.x) / 32 * kWarpChannels;
  const std::int64_t base = (at.b * s.channels + at.channel0) * s.states;
  const Global<const float> given = dh;
  const Global<float> to = dh0, to_A = dA;
  for (int i = first * states; i < (first + kWarpChannels) * states && i < at.width * states; ++i) {
    if (start) {
      tiles.carry[i] = dh ? given[base + i] : 0.0f;
      tiles.dA[i] = 0.0f;
    } else {
      if (dh0) to[base + i] = tiles.carry[i];
      to_A[base + i] = tiles.dA[i];
    }
  }
}

HYMBA_KERNEL(kThreads, 2)
backward_kernel(Shape s, Inputs<float> in, const float* kept, Gradients<float> grad, Partials parts) {
  const Place at = block_place(s);
  const int states = static_cast<int>(s.states), chunks = static_cast<int>((s.length + kSteps - 1) / kSteps);
  const BackwardTiles tiles = backward_tiles(states);
  const float bias =
      in.dt_bias && walk_column() < at.width ? Global<const float>(in.dt_bias)[at.channel0 + walk_column()] : 0.0f;
  float dD[kWarpChannels] = {}, dbias[kWarpChannels] = {};
  move_carries(s, at, tiles, grad.h, nullptr, nullptr, true);
  for (int chunk = chunks - 1; chunk >= 0; --chunk) {
    const std::int64_t t0 = static_cast<std::int64_t>(chunk) * kSteps;
    const int steps = s.length - t0 < kSteps ? static_cast<int>(s.length - t0) : kSteps;
    stage(tiles.u, row_of(in.u, at.b, t0, at.channel0), in.u.row_stride, steps, at.width);
    stage(tiles.dt, row_of(in.dt, at.b, t0, at.channel0), in.dt.row_stride, steps, at.width);
    stage(tiles.gy, row_of(grad.y, at.b, t0, at.channel0), grad.y.row_stride, steps, at.width);
    cp_async_commit();
    ChannelSums sums[kWarpChannels] = {};
    for (int n0 = 0; n0 < states; n0 += kStateTile) {
      const int count = states - n0 < kStateTile ? states - n0 : kStateTile;
      const std::int64_t column = static_cast<std::int64_t>(at.group) * s.states + n0;
      stage(tiles.B, row_of(in.B, at.b, t0, column), in.B.row_stride, steps, count);
      stage(tiles.C, row_of(in.C, at.b, t0, column), in.C.row_stride, steps, count);
      cp_async_commit();
      cp_async_wait<0>();
      if (n0 == 0) {
        discretise(tiles.dt, bias, s.softplus, steps, at.width);
        apply_gate(in, tiles, at, t0, steps);
      }
      __syncthreads();
      const std::int64_t before = ((at.b * chunks + chunk) * s.channels + at.channel0) * s.states;
      tile_gradients(s, at, tiles, n0, count, Global<const float>(in.A) + at.channel0 * s.states,
                     Global<const float>(kept) + before, sums);
      __syncthreads();
      write_tile(s, at, tiles, parts, t0, steps, n0, count);
    }
    finish_channels(s, in, at, tiles, steps, sums, dD, dbias);
    __syncthreads();
    write_gradients(in, grad, tiles, at, t0, steps);
  }
  move_carries(s, at, tiles, nullptr, grad.h0, parts.A, false);
#pragma unroll
  for (int c = 0; c < kWarpChannels; ++c) {
    const int column = static_cast<int>(threadIdx.x) / 32 * kWarpChannels + c;
    const float sum_D = warp_sum(dD[c]), sum_bias = warp_sum(dbias[c]);
    if (threadIdx.x % 32 != 0 || column >= at.width) continue;
    const std::int64_t i = at.b * s.channels + at.channel0 + column;
    if (parts.D) Global<float>(parts.D)[i] = sum_D;
    if (parts.dt_bias) Global<float>(parts.dt_bias)[i] = sum_bias;
  }
}

}  // namespace

const char* cuda_backward(const Shape& s, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
                          float* workspace, void* stream_in) {
  if (s.states > 1024) return kTooManyStates;
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t rows = s.batch * s.length * s.groups * s.states, channels = s.batch * s.channels;
  const std::int64_t blocks = cuda_group_blocks(s);
  Partials parts;
  parts.B = workspace, parts.C = parts.B + blocks * rows, parts.A = parts.C + blocks * rows;
  parts.D = grad.D ? parts.A + channels * s.states : nullptr;
  parts.dt_bias = grad.dt_bias ? parts.A + channels * (s.states + 1) : nullptr;
  const int floats = 5 * kTileFloats + 4 * kWarps * kSteps + 2 * kColumns * static_cast<int>(s.states);
  const char* error =
      launch(backward_kernel, scan_grid(s), kThreads, 4 * floats + 128, stream, s, in, states, grad, parts);
  if (!error) error = sum_parts(parts.B, blocks, rows, grad.B, stream);
  if (!error) error = sum_parts(parts.C, blocks, rows, grad.C, stream);
  if (!error) error = sum_parts(parts.A, s.batch, s.channels * s.states, grad.A, stream);
  if (!error) error = sum_parts(parts.D, s.batch, s.channels, grad.D, stream);
  return error ? error : sum_parts(parts.dt_bias, s.batch, s.channels, grad.dt_bias, stream);
}

}  // namespace hymba::kernels::scan
