// The GPU's multiply-add rate, measured: what benchmark rows are held against.
#include "kernels/cuda/device.h"
#include "kernels/cuda/limits.h"

namespace hymba::kernels::cuda {
namespace {

constexpr int kThreads = 256, kChains = 16, kRounds = 4096;

HYMBA_KERNEL(kThreads, 4) fma_kernel(float* sink, float a, float b) {
  float x[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) x[i] = static_cast<float>(threadIdx.x + i);
  for (int r = 0; r < kRounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) x[i] = fmaf(x[i], a, b);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum += x[i];
  if (sum == -1.0f) *sink = sum;  // never: keeps the loop
}

}  // namespace

double fma_rate() {
  int device = 0, processors = 0;
  cudaEvent_t begin, end;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
      cudaEventCreate(&begin) != cudaSuccess || cudaEventCreate(&end) != cudaSuccess) {
    return 0;
  }
  const int blocks = processors * 16;
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    cudaEventRecord(begin);
    fma_kernel<<<blocks, kThreads>>>(nullptr, 0.999f, 0.001f);
    cudaEventRecord(end);
    float milliseconds = 0;
    if (cudaEventSynchronize(end) != cudaSuccess || cudaEventElapsedTime(&milliseconds, begin, end) != cudaSuccess) break;
    const double rate = 2.0 * blocks * kThreads * kChains * kRounds / (1e-3 * milliseconds);
    best = rate > best ? rate : best;
  }
  cudaEventDestroy(begin), cudaEventDestroy(end);
  return best;
}

}  // namespace hymba::kernels::cuda
