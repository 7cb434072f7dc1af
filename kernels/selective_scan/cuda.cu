// Selective scan on the GPU. A block walks 16 channels of one sequence in chunks of 128 steps. Rows are staged by
// cp.async, coalesced over channels; then a warp takes four channels one after the other, its lanes 4 steps each, and
// scans every state over the 128 steps with shuffles. Only the state between chunks is carried on, in shared memory.
#include "kernels/cuda/device.h"
#include "kernels/cuda/reduce.h"
#include "kernels/selective_scan/cuda.h"
#include "kernels/selective_scan/tile.h"

namespace hymba::kernels::scan {
namespace {

using namespace cuda;  // NOLINT

constexpr int kSteps = kCudaSteps, kColumns = kCudaChannels, kThreads = 128, kWarpChannels = 4, kItems = 4;
constexpr int kStateTile = 16;  // states whose B and C are staged together

// What a block works on.
struct Place {
  std::int64_t b, channel0;  // the block's first channel
  int group, part, width;    // the block's part of the group, channels that exist
};

HYMBA_DEVICE Place block_place(const Shape& s) {
  const int group_channels = static_cast<int>(s.channels / s.groups);
  const int parts = (group_channels + kColumns - 1) / kColumns;
  std::int64_t i = blockIdx.x;
  Place p;
  p.part = static_cast<int>(i % parts), i /= parts;
  p.group = static_cast<int>(i % s.groups);
  p.b = i / s.groups;
  p.channel0 = static_cast<std::int64_t>(p.group) * group_channels + p.part * kColumns;
  const int left = group_channels - p.part * kColumns;
  p.width = left < kColumns ? left : kColumns;
  return p;
}

// Element (step, column) number k of this thread in the coalesced walk over a tile: 16 columns a row, 8 rows a pass.
HYMBA_DEVICE int walk_step(int k) { return k * (kThreads / kColumns) + static_cast<int>(threadIdx.x) / kColumns; }
HYMBA_DEVICE int walk_column() { return static_cast<int>(threadIdx.x) % kColumns; }
constexpr int kWalk = kSteps * kColumns / kThreads;

// Starts the copy of a tile; rows at or beyond `steps` and columns at or beyond `width` become zeros.
HYMBA_DEVICE void stage(const Shared<float>& tile, const Global<const float>& rows, std::int64_t row_stride, int steps,
                        int width) {
  const int column = walk_column();
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k);
    const bool valid = step < steps && column < width;
    cp_async<4>(tile + tile_at(step, column), valid ? rows + (step * row_stride + column) : rows, valid);
  }
}

template <class T>
HYMBA_DEVICE Global<T> row_of(const Rows<T>& rows, std::int64_t b, std::int64_t t, std::int64_t column) {
  return Global<T>(rows.data) + (b * rows.batch_stride + t * rows.row_stride + column);
}

// In the coalesced walk: dt = softplus(raw + bias), zero where there is no step, so that such a step changes nothing.
HYMBA_DEVICE void discretise(const Shared<float>& dt, float bias, bool use_softplus, int steps, int width) {
  const int column = walk_column();
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k), at = tile_at(step, column);
    const float raw = dt[at] + bias;
    dt[at] = step < steps && column < width ? (use_softplus ? softplus(raw) : raw) : 0.0f;
  }
}

// This lane's four steps of one column.
HYMBA_DEVICE void read_items(const Shared<float>& tile, int column, float (&x)[kItems]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < kItems; ++i) x[i] = tile[tile_at(kItems * lane + i, column)];
}

HYMBA_DEVICE void write_items(const Shared<float>& tile, int column, const float (&x)[kItems]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < kItems; ++i) tile[tile_at(kItems * lane + i, column)] = x[i];
}

// One state of one channel over a chunk: h after each of the lane's steps. a: the steps' decays. Returns h before the
// lane's first step.
HYMBA_DEVICE float scan_state(float before, float decay2, const float (&dt)[kItems], const float (&input)[kItems],
                              float (&a)[kItems], float (&h)[kItems]) {
  Affine own;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    a[i] = exp2_approx(dt[i] * decay2);
    own = then(own, {a[i], input[i]});
  }
  const float h_in = maps_before(own)(before);
  float state = h_in;
#pragma unroll
  for (int i = 0; i < kItems; ++i) h[i] = state = fmaf(a[i], state, input[i]);
  return h_in;
}

struct ForwardTiles {
  Shared<float> u, dt, y, B, C, carry;  // carry [16][N]: touched by lane 31 of the channel's warp only
};

HYMBA_DEVICE ForwardTiles forward_tiles(int states) {
  Shared<char> pool = shared_pool();
  ForwardTiles t;
  t.u = carve<float>(pool, kTileFloats), t.dt = carve<float>(pool, kTileFloats), t.y = carve<float>(pool, kTileFloats);
  t.B = carve<float>(pool, kTileFloats), t.C = carve<float>(pool, kTileFloats);
  t.carry = carve<float>(pool, kColumns * states);
  return t;
}

// Adds the states [n0, n0 + count) of one channel to y.
HYMBA_DEVICE void scan_channel(const ForwardTiles& tiles, int column, int n0, int count, int states,
                               const Global<const float>& A) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  float dt[kItems], w[kItems], y[kItems] = {};
  read_items(tiles.dt, column, dt);
  read_items(tiles.u, column, w);
  if (n0 > 0) read_items(tiles.y, column, y);
#pragma unroll
  for (int i = 0; i < kItems; ++i) w[i] *= dt[i];
#pragma unroll 1  // what unrolling gains it loses in registers
  for (int n = 0; n < count; ++n) {
    float input[kItems], C[kItems], a[kItems], h[kItems];
    read_items(tiles.B, n, input);
    read_items(tiles.C, n, C);
#pragma unroll
    for (int i = 0; i < kItems; ++i) input[i] *= w[i];
    const int slot = column * states + n0 + n;
    float carry = lane == 31 ? static_cast<float>(tiles.carry[slot]) : 0.0f;
    carry = __shfl_sync(kAllLanes, carry, 31);
    scan_state(carry, A[n0 + n] * kLog2e, dt, input, a, h);
    if (lane == 31) tiles.carry[slot] = h[kItems - 1];
#pragma unroll
    for (int i = 0; i < kItems; ++i) y[i] = fmaf(h[i], C[i], y[i]);
  }
  write_items(tiles.y, column, y);
}

// y of a chunk with skip and gate, in the coalesced walk.
HYMBA_DEVICE void write_outputs(const Inputs<float>& in, const Outputs<float>& out, const ForwardTiles& tiles,
                                const Place& at, std::int64_t t0, int steps) {
  const int column = walk_column();
  if (column >= at.width) return;
  const std::int64_t channel = at.channel0 + column;
  const float skip = in.D ? Global<const float>(in.D)[channel] : 0.0f;
  const Global<float> y = row_of(out.y, at.b, t0, channel);
  const Global<const float> z = row_of(in.z, at.b, t0, in.z.data ? channel : 0);
#pragma unroll 4
  for (int k = 0; k < kWalk; ++k) {
    const int step = walk_step(k);
    if (step >= steps) break;
    float value = fmaf(skip, tiles.u[tile_at(step, column)], tiles.y[tile_at(step, column)]);
    if (in.z.data) {
      const float gate = z[step * in.z.row_stride];
      value *= gate * sigmoid(gate);
    }
    y[step * out.y.row_stride] = value;
  }
}

// The states of the warp's channels, by lane 31: from h0, or to `to` [E, N] of this sequence.
HYMBA_DEVICE void move_states(const Shape& s, const Place& at, const Shared<float>& carry, const float* from,
                              float* to_in, std::int64_t to_offset, bool load) {
  if (threadIdx.x % 32 != 31) return;
  const int states = static_cast<int>(s.states), first = static_cast<int>(threadIdx.x) / 32 * kWarpChannels;
  const std::int64_t base = (at.b * s.channels + at.channel0) * s.states;
  const Global<const float> h0 = from;
  const Global<float> to = to_in;
  for (int i = first * states; i < (first + kWarpChannels) * states && i < at.width * states; ++i) {
    if (load) {
      carry[i] = from ? h0[base + i] : 0.0f;
    } else {
      to[to_offset + i] = carry[i];
    }
  }
}

HYMBA_KERNEL(kThreads, 4) forward_kernel(Shape s, Inputs<float> in, Outputs<float> out) {
  const Place at = block_place(s);
  const int states = static_cast<int>(s.states), warp_channel = static_cast<int>(threadIdx.x) / 32 * kWarpChannels;
  const ForwardTiles tiles = forward_tiles(states);
  const bool exists = walk_column() < at.width;
  const float bias = in.dt_bias && exists ? Global<const float>(in.dt_bias)[at.channel0 + walk_column()] : 0.0f;
  move_states(s, at, tiles.carry, in.h0, nullptr, 0, true);
  const int chunks = static_cast<int>((s.length + kSteps - 1) / kSteps);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t t0 = static_cast<std::int64_t>(chunk) * kSteps;
    const int steps = s.length - t0 < kSteps ? static_cast<int>(s.length - t0) : kSteps;
    stage(tiles.u, row_of(in.u, at.b, t0, at.channel0), in.u.row_stride, steps, at.width);
    stage(tiles.dt, row_of(in.dt, at.b, t0, at.channel0), in.dt.row_stride, steps, at.width);
    cp_async_commit();
    if (out.states) {
      const std::int64_t kept = ((at.b * chunks + chunk) * s.channels + at.channel0) * s.states;
      move_states(s, at, tiles.carry, nullptr, out.states, kept, false);
    }
    for (int n0 = 0; n0 < states; n0 += kStateTile) {
      const int count = states - n0 < kStateTile ? states - n0 : kStateTile;
      const std::int64_t column = static_cast<std::int64_t>(at.group) * s.states + n0;
      stage(tiles.B, row_of(in.B, at.b, t0, column), in.B.row_stride, steps, count);
      stage(tiles.C, row_of(in.C, at.b, t0, column), in.C.row_stride, steps, count);
      cp_async_commit();
      cp_async_wait<0>();
      if (n0 == 0) discretise(tiles.dt, bias, s.softplus, steps, at.width);  // what this thread has copied itself
      __syncthreads();
      for (int c = warp_channel; c < warp_channel + kWarpChannels && c < at.width; ++c) {
        scan_channel(tiles, c, n0, count, states, Global<const float>(in.A) + (at.channel0 + c) * s.states);
      }
      __syncthreads();
    }
    write_outputs(in, out, tiles, at, t0, steps);
  }
  move_states(s, at, tiles.carry, nullptr, out.h, (at.b * s.channels + at.channel0) * s.states, false);
}

}  // namespace

namespace {

dim3 scan_grid(const Shape& s) { return dim3(static_cast<unsigned>(s.batch * s.groups * cuda_group_blocks(s))); }

constexpr const char* kTooManyStates = "[selective_scan] A_EN: the CUDA kernels take at most 1024 states";

}  // namespace

const char* cuda_forward(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream) {
  if (s.states > 1024) return kTooManyStates;
  const int bytes = static_cast<int>(sizeof(float)) * (5 * kTileFloats + kColumns * static_cast<int>(s.states));
  return launch(forward_kernel, scan_grid(s), kThreads, bytes + 96, static_cast<Stream>(stream), s, in, out);
}

}  // namespace hymba::kernels::scan

#include "kernels/selective_scan/cuda_backward.cuh"
#include "kernels/selective_scan/cuda_step.cuh"
