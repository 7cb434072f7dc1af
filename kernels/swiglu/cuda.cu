// SwiGLU on the GPU: one pass over memory each way, 16 bytes a lane where rows are aligned.
#include "kernels/cuda/vectors.h"
#include "kernels/swiglu/cuda.h"

namespace hymba::kernels::gate {
namespace {

using namespace cuda;  // NOLINT

constexpr int kThreads = 256;

template <int Width>
HYMBA_KERNEL(kThreads, 4)
forward_kernel(Shape s, const float* in, float* out) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * Width;
  if (i >= s.rows * s.width) return;
  const std::int64_t row = i / s.width, column = i % s.width;
  const Global<const float> x = Global<const float>(in) + (row * s.stride + column);
  const Floats<Width> gate = load<Width>(x), up = load<Width>(x + s.width);
  Floats<Width> y;
  for (int k = 0; k < Width; ++k) y.v[k] = gate.v[k] * sigmoid(gate.v[k]) * up.v[k];
  store<Width>(Global<float>(out) + i, y);
}

template <int Width>
HYMBA_KERNEL(kThreads, 4)
backward_kernel(Shape s, const float* in, const float* dy_in, float* out) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * Width;
  if (i >= s.rows * s.width) return;
  const std::int64_t row = i / s.width, column = i % s.width;
  const Global<const float> x = Global<const float>(in) + (row * s.stride + column);
  const Floats<Width> gate = load<Width>(x), up = load<Width>(x + s.width),
                      dy = load<Width>(Global<const float>(dy_in) + i);
  Floats<Width> dgate, dup;
  for (int k = 0; k < Width; ++k) {
    const float sig = sigmoid(gate.v[k]);
    dgate.v[k] = dy.v[k] * up.v[k] * sig * fmaf(gate.v[k], 1.0f - sig, 1.0f);
    dup.v[k] = dy.v[k] * gate.v[k] * sig;
  }
  const Global<float> to = Global<float>(out) + (2 * row * s.width + column);
  store<Width>(to, dgate);
  store<Width>(to + s.width, dup);
}

dim3 grid_of(const Shape& s, int per_thread) {
  const std::int64_t threads = (s.rows * s.width + per_thread - 1) / per_thread;
  return dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
}

}  // namespace

const char* cuda_forward(const Shape& s, const float* gate_up, float* y, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const bool wide = s.width % 4 == 0 && fits16(gate_up, s.stride) && fits16(y);
  return wide ? launch(forward_kernel<4>, grid_of(s, 4), kThreads, 0, stream, s, gate_up, y)
              : launch(forward_kernel<1>, grid_of(s, 1), kThreads, 0, stream, s, gate_up, y);
}

const char* cuda_backward(const Shape& s, const float* gate_up, const float* dy, float* dgate_up, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const bool wide = s.width % 4 == 0 && fits16(gate_up, s.stride) && fits16(dy) && fits16(dgate_up);
  return wide ? launch(backward_kernel<4>, grid_of(s, 4), kThreads, 0, stream, s, gate_up, dy, dgate_up)
              : launch(backward_kernel<1>, grid_of(s, 1), kThreads, 0, stream, s, gate_up, dy, dgate_up);
}

}  // namespace hymba::kernels::gate
