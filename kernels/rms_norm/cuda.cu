// RMS norm on the GPU: a block of 4 warps walks a row 16 bytes a lane where rows are aligned; the second look at the
// row comes from the cache. The weight's gradient is summed over 16 rows in shared memory, then over blocks in order.
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/vectors.h"
#include "kernels/rms_norm/cuda.h"

namespace hymba::kernels::norm {
namespace {

using namespace cuda;  // NOLINT

constexpr int kThreads = 128;

// The block's sum in every thread. Two calls need different scratch, or a barrier between.
HYMBA_DEVICE float block_sum(float x, const Shared<float>& scratch) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < kThreads / 32; ++w) sum += scratch[w];
  return sum;
}

template <int Width>
HYMBA_KERNEL(kThreads, 8)
forward_kernel(Shape s, const float* x_in, const float* weight_in, float* y_in, float* rstd_in) {
  Shared<char> pool = shared_pool();
  const Shared<float> scratch = carve<float>(pool, kThreads / 32);
  const std::int64_t row = blockIdx.x;
  const Global<const float> x = Global<const float>(x_in) + row * s.stride, weight = weight_in;
  const Global<float> y = Global<float>(y_in) + row * s.width, rstds = rstd_in;
  float sum = 0;
  for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
    const Floats<Width> v = load<Width>(x + i);
    for (int k = 0; k < Width; ++k) sum = fmaf(v.v[k], v.v[k], sum);
  }
  const float rstd = 1.0f / sqrtf(block_sum(sum, scratch) / static_cast<float>(s.width) + static_cast<float>(s.eps));
  if (rstd_in && threadIdx.x == 0) rstds[row] = rstd;
  for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
    Floats<Width> v = load<Width>(x + i);
    const Floats<Width> w = load<Width>(weight + i);
    for (int k = 0; k < Width; ++k) v.v[k] *= rstd * w.v[k];
    store<Width>(y + i, v);
  }
}

template <int Width>
HYMBA_KERNEL(kThreads, 8)
forward_out_kernel(OutShape s, const float* x_in, const float* weight_in, float* y_in) {
  Shared<char> pool = shared_pool();
  const Shared<float> scratch = carve<float>(pool, kThreads / 32);
  const std::int64_t row = blockIdx.x;
  const Global<const float> x = Global<const float>(x_in) + row * s.x_stride, weight = weight_in;
  const Global<float> y = Global<float>(y_in) + row * s.y_stride;
  float sum = 0;
  for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
    const Floats<Width> v = load<Width>(x + i);
    for (int k = 0; k < Width; ++k) sum = fmaf(v.v[k], v.v[k], sum);
  }
  const float mean = block_sum(sum, scratch) / static_cast<float>(s.width);
  const float scale = s.scale / sqrtf(mean + static_cast<float>(s.eps));
  for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
    const Floats<Width> v = load<Width>(x + i);
    for (std::int64_t at = i; at < s.width * s.copies; at += s.width) {
      const Floats<Width> w = load<Width>(weight + at);
      Floats<Width> out = {};
      if (s.add) out = load<Width>(y + at);
      for (int k = 0; k < Width; ++k) out.v[k] += scale * v.v[k] * w.v[k];
      store<Width>(y + at, out);
    }
  }
}

template <int Width>
HYMBA_KERNEL(kThreads, 8)
backward_kernel(Shape s, const float* x_in, const float* weight_in, const float* rstd_in, const float* dy_in,
                float* dx_in, float* parts_in) {
  Shared<char> pool = shared_pool();
  const Shared<float> scratch = carve<float>(pool, 2 * kThreads / 32),
                      dweight = carve<float>(pool, static_cast<int>(s.width));
  const Global<const float> weight = weight_in, rstds = rstd_in;
  for (std::int64_t r = 0; r < kCudaRows; ++r) {
    const std::int64_t row = blockIdx.x * kCudaRows + r;
    if (row >= s.rows) break;
    const Global<const float> x = Global<const float>(x_in) + row * s.stride,
                              dy = Global<const float>(dy_in) + row * s.width;
    const Global<float> dx = Global<float>(dx_in) + row * s.width;
    const float rstd = rstds[row];
    float dot = 0;
    for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
      const Floats<Width> v = load<Width>(x + i), g = load<Width>(dy + i), w = load<Width>(weight + i);
      for (int k = 0; k < Width; ++k) {
        dot = fmaf(g.v[k] * w.v[k], v.v[k], dot);
        const float own = g.v[k] * v.v[k] * rstd;  // this thread's columns are the same in every row
        dweight[i + k] = r == 0 ? own : dweight[i + k] + own;
      }
    }
    const float mean = block_sum(dot, scratch + r % 2 * (kThreads / 32)) / static_cast<float>(s.width);
    for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
      const Floats<Width> v = load<Width>(x + i), w = load<Width>(weight + i);
      Floats<Width> g = load<Width>(dy + i);
      for (int k = 0; k < Width; ++k) g.v[k] = rstd * fmaf(g.v[k], w.v[k], -v.v[k] * rstd * rstd * mean);
      store<Width>(dx + i, g);
    }
  }
  const Global<float> parts = Global<float>(parts_in) + blockIdx.x * s.width;
  for (std::int64_t i = threadIdx.x * Width; i < s.width; i += kThreads * Width) {
    for (int k = 0; k < Width; ++k) parts[i + k] = dweight[i + k];
  }
}

bool wide(const Shape& s, const float* x, const float* weight) {
  return s.width % 4 == 0 && fits16(x, s.stride) && fits16(weight);
}

}  // namespace

const char* cuda_forward(const Shape& s, const float* x, const float* weight, float* y, float* rstd, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const dim3 grid(static_cast<unsigned>(s.rows));
  return wide(s, x, weight) && fits16(y) ? launch(forward_kernel<4>, grid, kThreads, 64, stream, s, x, weight, y, rstd)
                                         : launch(forward_kernel<1>, grid, kThreads, 64, stream, s, x, weight, y, rstd);
}

const char* cuda_forward_out(const OutShape& s, const float* x, const float* weight, float* y, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const dim3 grid(static_cast<unsigned>(s.rows));
  const bool four = s.width % 4 == 0 && fits16(x, s.x_stride) && fits16(weight) && fits16(y, s.y_stride);
  return four ? launch(forward_out_kernel<4>, grid, kThreads, 64, stream, s, x, weight, y)
              : launch(forward_out_kernel<1>, grid, kThreads, 64, stream, s, x, weight, y);
}

const char* cuda_backward(const Shape& s, const float* x, const float* weight, const float* rstd, const float* dy,
                          float* dx, float* dweight, float* workspace, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  if (s.width > 50000) return "[rms_norm] x: the CUDA kernel takes at most 50000 numbers a row";
  const dim3 grid(static_cast<unsigned>(cuda_parts(s)));
  const int bytes = static_cast<int>(s.width) * 4 + 128;
  const bool four = wide(s, x, weight) && fits16(dy) && fits16(dx);
  const char* error =
      four ? launch(backward_kernel<4>, grid, kThreads, bytes, stream, s, x, weight, rstd, dy, dx, workspace)
           : launch(backward_kernel<1>, grid, kThreads, bytes, stream, s, x, weight, rstd, dy, dx, workspace);
  return error ? error : sum_parts(workspace, cuda_parts(s), s.width, dweight, stream);
}

}  // namespace hymba::kernels::norm
