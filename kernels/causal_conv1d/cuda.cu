// Causal convolution on the GPU. Memory-bound: x is read once into registers (neighbouring runs overlap by W - 1 rows,
// which come from L1), 16 bytes a lane where the rows allow it. No shared memory but for the weight's gradient.
#include "kernels/causal_conv1d/cuda.h"
#include "kernels/causal_conv1d/tile.h"
#include "kernels/cuda/reduce.h"

namespace hymba::kernels::conv {
namespace {

using namespace cuda;  // NOLINT

// Weights [tap][channel] of the thread. Taps: the number of taps, 0: as the shape says, read when needed.
template <int Width, int Taps>
struct Weights {
  Global<const float> from;
  Floats<Width> w[Taps > 0 ? Taps : 1];
  int taps;

  HYMBA_DEVICE Weights(const Shape& s, const float* weight, std::int64_t e)
      : from(Global<const float>(weight) + e * s.taps), taps(static_cast<int>(s.taps)) {
#pragma unroll
    for (int k = 0; k < Taps; ++k) {
      for (int v = 0; v < Width; ++v) w[k].v[v] = from[v * taps + k];
    }
  }
  HYMBA_DEVICE float at(int k, int v) const {
    if constexpr (Taps > 0) return w[k].v[v];
    return from[v * taps + k];
  }
};

template <int Width>
HYMBA_DEVICE Floats<Width> load_bias(const float* bias, std::int64_t e) {
  return bias ? load<Width>(Global<const float>(bias) + e) : Floats<Width>();
}

// The last W - 1 inputs.
template <int Width>
HYMBA_DEVICE void write_state(const Shape& s, const Source<Width>& x, const Global<float>& out, const Place& at) {
  for (int i = at.group; i < x.before; i += kGroups) {
    store<Width>(out + ((at.b * x.before + i) * s.channels + at.e), x.at(s.length - x.before + i));
  }
}

template <int Width, int Taps>
HYMBA_KERNEL(kThreads, 2)
forward_kernel(Shape s, Inputs<float> in, Outputs<float> out) {
  const std::int64_t rows = s.length > 0 ? s.length : 1;
  const Place at = thread_place<Width>(s, rows);
  if (at.e >= s.channels) return;
  const Source<Width> x(s, in, at.b, at.e);
  if (s.taps > 1 && at.row < kRun * kGroups) write_state<Width>(s, x, out.state, at);
  const Weights<Width, Taps> weight(s, in.weight, at.e);
  const Floats<Width> bias = load_bias<Width>(in.bias, at.e);
  const Global<float> y = Global<float>(out.y.data) + (at.b * out.y.batch_stride + at.e);
  constexpr int kKept = Taps > 0 ? Taps - 1 + kRun : 1;
  Floats<Width> kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) kept[i] = Taps > 0 ? x.at(at.row - (Taps - 1) + i) : Floats<Width>();
#pragma unroll
  for (int r = 0; r < kRun; ++r) {
    const std::int64_t t = at.row + r;
    if (t >= s.length) break;
    Floats<Width> sum = bias;
#pragma unroll
    for (int k = 0; k < (Taps > 0 ? Taps : static_cast<int>(s.taps)); ++k) {
      const Floats<Width> input = Taps > 0 ? kept[Taps > 0 ? r + k : 0] : x.at(t - x.before + k);
      for (int v = 0; v < Width; ++v) sum.v[v] = fmaf(weight.at(k, v), input.v[v], sum.v[v]);
    }
    for (int v = 0; v < Width; ++v) sum.v[v] = activate(sum.v[v], s.silu);
    store<Width>(y + t * out.y.row_stride, sum);
  }
}

struct Partials {
  float *weight = nullptr, *bias = nullptr;  // [parts, E, W], [parts, E]
};

// Sums of a value over the 8 warps of the block, which hold the same channels at other steps; warp 0 writes.
template <int Width>
HYMBA_DEVICE void block_sum(const Shared<float>& scratch, const Floats<Width>& mine, const Place& at, bool exists,
                            const Global<float>& to, std::int64_t stride) {
  for (int v = 0; v < Width; ++v) scratch[(at.group * Width + v) * 32 + at.lane] = mine.v[v];
  __syncthreads();
  for (int v = at.group; v < Width; v += kGroups) {
    float sum = 0;
    for (int g = 0; g < kGroups; ++g) sum += scratch[(g * Width + v) * 32 + at.lane];
    if (exists) to[v * stride] = sum;
  }
  __syncthreads();
}

// What the backward pass of one thread reads.
template <int Width, int Taps>
struct Backward {
  const Shape& s;
  Source<Width> x;
  Weights<Width, Taps> weight;
  Floats<Width> bias;
  Global<const float> dy, dfinal;
  std::int64_t dy_stride;

  HYMBA_DEVICE Backward(const Shape& shape, const Inputs<float>& in, const Gradients<float>& grad, const Place& at)
      : s(shape),
        x(shape, in, at.b, at.e),
        weight(shape, in.weight, at.e),
        bias(load_bias<Width>(in.bias, at.e)),
        dy(Global<const float>(grad.y.data) + (at.b * grad.y.batch_stride + at.e)),
        dfinal(grad.final_state),
        dy_stride(grad.y.row_stride) {
    if (grad.final_state) dfinal += at.b * x.before * s.channels + at.e;
  }

  // The gradient of the sum before the silu at step t, with its inputs given by f(tap).
  template <class F>
  HYMBA_DEVICE Floats<Width> gradient(std::int64_t t, const F& input) const {
    if (t < 0 || t >= s.length) return {};
    Floats<Width> p = bias, g = load<Width>(dy + t * dy_stride);
    if (!s.silu) return g;
#pragma unroll
    for (int k = 0; k < (Taps > 0 ? Taps : weight.taps); ++k) {
      const Floats<Width> in = input(k);
      for (int v = 0; v < Width; ++v) p.v[v] = fmaf(weight.at(k, v), in.v[v], p.v[v]);
    }
    for (int v = 0; v < Width; ++v) g.v[v] *= slope(p.v[v], true);
    return g;
  }

  // Adds the gradient of the final state, a copy of the last inputs; writes that of the input at step t.
  HYMBA_DEVICE void write(std::int64_t t, Floats<Width> dx, const Global<float>& to_x, std::int64_t stride,
                          const Global<float>& to_state) const {
    if (t >= s.length) return;
    const std::int64_t copy = t - s.length + x.before;
    if (dfinal && copy >= 0) {
      const Floats<Width> more = load<Width>(dfinal + copy * s.channels);
      for (int v = 0; v < Width; ++v) dx.v[v] += more.v[v];
    }
    if (t >= 0) {
      store<Width>(to_x + t * stride, dx);
    } else if (to_state) {
      store<Width>(to_state + (t + x.before) * s.channels, dx);
    }
  }
};

// Fixed taps: one walk over the run and the W - 1 steps behind it, inputs and gradients in rolling registers.
template <int Width, int Taps, class Write>
HYMBA_DEVICE void walk(const Backward<Width, Taps>& pass, std::int64_t t0, const Write& write,
                       Floats<Width> (&dw)[Taps], Floats<Width>& dbias) {
  Floats<Width> inputs[Taps], g[Taps];  // the last W of each, oldest first
#pragma unroll
  for (int i = 1; i < Taps; ++i) inputs[i] = pass.x.at(t0 - Taps + i);
#pragma unroll
  for (int r = 0; r < kRun + Taps - 1; ++r) {
    const std::int64_t t = t0 + r;
#pragma unroll
    for (int i = 0; i + 1 < Taps; ++i) inputs[i] = inputs[i + 1], g[i] = g[i + 1];
    inputs[Taps - 1] = pass.x.at(t);
    g[Taps - 1] = pass.gradient(t, [&](int k) { return inputs[k]; });
    for (int v = 0; r < kRun && v < Width; ++v) {
      dbias.v[v] += g[Taps - 1].v[v];
#pragma unroll
      for (int k = 0; k < Taps; ++k) dw[k].v[v] = fmaf(g[Taps - 1].v[v], inputs[k].v[v], dw[k].v[v]);
    }
    if (r < Taps - 1) continue;
    Floats<Width> dx;
#pragma unroll
    for (int k = 0; k < Taps; ++k) {
      for (int v = 0; v < Width; ++v) dx.v[v] = fmaf(pass.weight.at(k, v), g[Taps - 1 - k].v[v], dx.v[v]);
    }
    write(t - (Taps - 1), dx);
  }
}

// Any number of taps: everything from L1, W times.
template <int Width, class Write>
HYMBA_DEVICE void walk_any(const Backward<Width, 0>& pass, std::int64_t t0, const Write& write) {
  for (int r = 0; r < kRun; ++r) {
    Floats<Width> dx;
    for (int k = 0; k < pass.weight.taps; ++k) {
      const std::int64_t t = t0 + r + pass.x.before - k;
      const Floats<Width> g = pass.gradient(t, [&](int j) { return pass.x.at(t - pass.x.before + j); });
      for (int v = 0; v < Width; ++v) dx.v[v] = fmaf(pass.weight.at(k, v), g.v[v], dx.v[v]);
    }
    write(t0 + r, dx);
  }
}

// The run's sums for tap k (k = taps: the bias).
template <int Width>
HYMBA_DEVICE Floats<Width> tap_sum(const Backward<Width, 0>& pass, std::int64_t t0, int k) {
  Floats<Width> sum;
  for (int r = 0; r < kRun; ++r) {
    const std::int64_t t = t0 + r;
    const Floats<Width> g = pass.gradient(t, [&](int j) { return pass.x.at(t - pass.x.before + j); });
    const Floats<Width> input = k < pass.weight.taps ? pass.x.at(t - pass.x.before + k) : Floats<Width>();
    for (int v = 0; v < Width; ++v) sum.v[v] += g.v[v] * (k < pass.weight.taps ? input.v[v] : 1.0f);
  }
  return sum;
}

template <int Width, int Taps>
HYMBA_KERNEL(kThreads, 1)
backward_kernel(Shape s, Inputs<float> in, Gradients<float> grad, Partials parts) {
  HYMBA_STATIC_SHARED(float, scratch, kGroups* Width * 32);
  Place at = thread_place<Width>(s, s.length + s.taps - 1);
  const bool exists = at.e < s.channels;
  if (!exists) at.e = 0;  // stays for the barriers
  const int taps = static_cast<int>(s.taps);
  const std::int64_t t0 = at.row - (taps - 1), channels = at.part * s.channels + at.e;
  const Backward<Width, Taps> pass(s, in, grad, at);
  const Global<float> dx = Global<float>(grad.x.data) + (at.b * grad.x.batch_stride + at.e);
  Global<float> dstate = grad.state;
  if (grad.state) dstate += at.b * (taps - 1) * s.channels + at.e;
  const auto write = [&](std::int64_t t, const Floats<Width>& value) {
    if (exists) pass.write(t, value, dx, grad.x.row_stride, dstate);
  };
  const Global<float> to = Global<float>(parts.weight) + channels * taps;
  Floats<Width> dbias;
  if constexpr (Taps > 0) {
    Floats<Width> dw[Taps];
    walk<Width, Taps>(pass, t0, write, dw, dbias);
#pragma unroll
    for (int k = 0; k < Taps; ++k) block_sum<Width>(scratch, dw[k], at, exists, to + k, taps);
  } else {
    walk_any<Width>(pass, t0, write);
    for (int k = 0; k < taps; ++k) block_sum<Width>(scratch, tap_sum<Width>(pass, t0, k), at, exists, to + k, taps);
    dbias = tap_sum<Width>(pass, t0, taps);
  }
  if (parts.bias) block_sum<Width>(scratch, dbias, at, exists, Global<float>(parts.bias) + channels, 1);
}

// One step: a thread a channel, the state shifted in place.
HYMBA_KERNEL(128, 8) step_kernel(Shape s, Inputs<float> in, Outputs<float> out) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * 128 + threadIdx.x;
  if (i >= s.batch * s.channels) return;
  const std::int64_t b = i / s.channels, e = i % s.channels, before = s.taps - 1;
  const Global<const float> weight = Global<const float>(in.weight) + e * s.taps, state = in.state;
  const Global<float> to = out.state;
  const float x = (Global<const float>(in.x.data) + (b * in.x.batch_stride + e))[0];
  float sum = in.bias ? Global<const float>(in.bias)[e] : 0.0f;
  for (std::int64_t k = 0; k < before; ++k) {
    const float old = in.state ? state[(b * before + k) * s.channels + e] : 0.0f;
    sum = fmaf(weight[k], old, sum);
    if (k > 0) to[(b * before + k - 1) * s.channels + e] = old;
  }
  if (before > 0) to[(b * before + before - 1) * s.channels + e] = x;
  (Global<float>(out.y.data) + (b * out.y.batch_stride + e))[0] = activate(fmaf(weight[before], x, sum), s.silu);
}

template <int Width>
dim3 grid_of(const Shape& s, std::int64_t rows) {
  const std::int64_t channel_blocks = (s.channels + 32 * Width - 1) / (32 * Width);
  return dim3(static_cast<unsigned>(s.batch * ((rows + kCudaSteps - 1) / kCudaSteps) * channel_blocks));
}

template <int Width>
const char* forward_of(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, Stream stream) {
  const dim3 grid = grid_of<Width>(s, s.length > 0 ? s.length : 1);
  if (s.taps == 4) return launch(forward_kernel<Width, 4>, grid, kThreads, 0, stream, s, in, out);
  if (s.taps == 3) return launch(forward_kernel<Width, 3>, grid, kThreads, 0, stream, s, in, out);
  if (s.taps == 2) return launch(forward_kernel<Width, 2>, grid, kThreads, 0, stream, s, in, out);
  return launch(forward_kernel<Width, 0>, grid, kThreads, 0, stream, s, in, out);
}

template <int Width>
const char* backward_of(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, const Partials& parts,
                        Stream stream) {
  const dim3 grid = grid_of<Width>(s, s.length + s.taps - 1);
  if (s.taps == 4) return launch(backward_kernel<Width, 4>, grid, kThreads, 0, stream, s, in, grad, parts);
  if (s.taps == 3) return launch(backward_kernel<Width, 3>, grid, kThreads, 0, stream, s, in, grad, parts);
  if (s.taps == 2) return launch(backward_kernel<Width, 2>, grid, kThreads, 0, stream, s, in, grad, parts);
  return launch(backward_kernel<Width, 0>, grid, kThreads, 0, stream, s, in, grad, parts);
}

template <class T>
bool fits(const Rows<T>& rows) {
  return fits16(rows.data, rows.row_stride, rows.batch_stride);
}

bool inputs_fit(const Shape& s, const Inputs<float>& in) {
  return s.channels % 4 == 0 && fits(in.x) && fits16(in.state) && fits16(in.bias);
}

}  // namespace

const char* cuda_forward(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream) {
  const bool wide = inputs_fit(s, in) && fits(out.y) && fits16(out.state);
  return wide ? forward_of<4>(s, in, out, static_cast<Stream>(stream))
              : forward_of<1>(s, in, out, static_cast<Stream>(stream));
}

const char* cuda_backward(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, float* workspace,
                          void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t parts = cuda_parts(s);
  Partials p{workspace, grad.bias ? workspace + parts * s.channels * s.taps : nullptr};
  const bool wide = inputs_fit(s, in) && fits(grad.y) && fits(grad.x) && fits16(grad.state) && fits16(grad.final_state);
  const char* error = wide ? backward_of<4>(s, in, grad, p, stream) : backward_of<1>(s, in, grad, p, stream);
  if (!error) error = sum_parts(p.weight, parts, s.channels * s.taps, grad.weight, stream);
  return error ? error : sum_parts(p.bias, parts, s.channels, grad.bias, stream);
}

const char* cuda_step(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream) {
  const dim3 grid(static_cast<unsigned>((s.batch * s.channels + 127) / 128));
  return launch(step_kernel, grid, 128, 0, static_cast<Stream>(stream), s, in, out);
}

}  // namespace hymba::kernels::conv
