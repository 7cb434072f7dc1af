// One thread's part of the convolution: a run of steps of 1 or 4 neighbouring channels. Lanes lie along the channels,
// so every row is read in full cache lines; the taps of neighbouring steps stay in registers.
#pragma once

#include "kernels/causal_conv1d/kernel.h"
#include "kernels/cuda/vectors.h"

namespace hymba::kernels::conv {

constexpr int kRun = 8;                              // steps a thread
constexpr int kGroups = 8, kThreads = 32 * kGroups;  // a warp takes 32 channel runs; 8 of them 64 steps

// Where a thread works: channels [e, e + Width) of sequence b, rows [row, row + kRun) of state and x together.
struct Place {
  std::int64_t b, e, row, part;
  int lane, group;
};

template <int Width>
HYMBA_DEVICE Place thread_place(const Shape& s, std::int64_t rows) {
  const std::int64_t channel_blocks = (s.channels + 32 * Width - 1) / (32 * Width);
  const std::int64_t row_blocks = (rows + kRun * kGroups - 1) / (kRun * kGroups);
  Place p;
  p.lane = static_cast<int>(threadIdx.x) % 32, p.group = static_cast<int>(threadIdx.x) / 32;
  p.part = blockIdx.x / channel_blocks;
  p.b = p.part / row_blocks;
  p.e = (blockIdx.x % channel_blocks * 32 + p.lane) * Width;
  p.row = (p.part % row_blocks * kGroups + p.group) * kRun;
  return p;
}

template <int Width>
struct Source {
  cuda::Global<const float> x, state;  // at (b, 0, e); state may be null
  std::int64_t row_stride, channels, length;
  int before;  // rows of the state

  HYMBA_DEVICE Source(const Shape& s, const Inputs<float>& in, std::int64_t b, std::int64_t e)
      : x(cuda::Global<const float>(in.x.data) + (b * in.x.batch_stride + e)),
        state(in.state),
        row_stride(in.x.row_stride),
        channels(s.channels),
        length(s.length),
        before(static_cast<int>(s.taps) - 1) {
    if (in.state) state += b * before * channels + e;
  }

  // The input at step t: of x, of the state before it, or zero.
  HYMBA_DEVICE cuda::Floats<Width> at(std::int64_t t) const {
    if (t >= 0 && t < length) return cuda::load<Width>(x + t * row_stride);
    if (t < 0 && t >= -before && state) return cuda::load<Width>(state + (t + before) * channels);
    return {};
  }
};

// y after the optional silu; with `dy` given, dy times the slope instead.
HYMBA_DEVICE float activate(float p, bool silu) { return silu ? p * cuda::sigmoid(p) : p; }
HYMBA_DEVICE float slope(float p, bool silu) {
  if (!silu) return 1.0f;
  const float sig = cuda::sigmoid(p);
  return sig * fmaf(p, 1.0f - sig, 1.0f);
}

}  // namespace hymba::kernels::conv
